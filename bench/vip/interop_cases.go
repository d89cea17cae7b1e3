package vip

import (
	"fmt"
	"maps"
	"strings"
	"time"
)

// protocol is a version with its usual interval, and how long a takeover takes by it:
// priority 100 misses three adverts and waits its skew time, or that alone after
// priority 0.
type protocol struct {
	name       string
	pgvip      settings
	keepalived KeepalivedOptions
	down, skew time.Duration
}

func v3() protocol {
	return protocol{"v3", settings{}, KeepalivedOptions{Version: 3, Advert: "0.1"}, 361 * time.Millisecond, 61 * time.Millisecond}
}

func v2() protocol {
	return protocol{"v2", settings{"vip.version": "2", "vip.advert_int": "1s"},
		KeepalivedOptions{Version: 2, Advert: "1"}, 3610 * time.Millisecond, 610 * time.Millisecond}
}

// expires is when the kernel has removed an address that pgvip does not refresh any more.
const expires = 3500 * time.Millisecond

// meetings are all cases.
func meetings() []meeting {
	var all []meeting
	for _, p := range []protocol{v3(), v2()} {
		all = append(all, p.elections()...)
		all = append(all, p.deaths()...)
	}
	p := v3()
	all = append(all, p.patience()...)
	all = append(all, p.partitions()...)
	all = append(all, p.ways()...)
	all = append(all, p.weights()...)
	return append(all, p.differences()...)
}

// meet is a case of two with these priorities.
func (p protocol) meet(name string, pgvip, keepalived int, play play) meeting {
	m := meeting{name: p.name + "-" + name, pgvip: maps.Clone(p.pgvip), keepalived: p.keepalived, play: play}
	m.pgvip["vip.priority"] = fmt.Sprint(pgvip)
	m.keepalived.Priority = keepalived
	return m
}

func (m meeting) with(key, value string) meeting {
	m.pgvip = maps.Clone(m.pgvip)
	m.pgvip[key] = value
	return m
}

func (m meeting) saying(lines ...string) meeting {
	m.keepalived.Instance = lines
	return m
}

// elections: who is Active when both are there, in either order, and after one of them
// has left.
func (p protocol) elections() []meeting {
	const preempt = "vip.preempt"
	return []meeting{
		p.meet("pgvip-first", 150, 100, leaves(pgvipSide, p.skew)),
		p.meet("keepalived-first", 100, 150, leaves(keepalivedSide, p.skew)),
		p.meet("pgvip-preempts", 150, 100, preempts(pgvipSide, 0)).with(preempt, "true"),
		p.meet("keepalived-preempts", 100, 150, preempts(keepalivedSide, 0)),
		p.meet("pgvip-does-not-preempt", 150, 100, stays(keepalivedSide)),
		p.meet("keepalived-does-not-preempt", 100, 150, stays(pgvipSide)).saying("nopreempt"),
		p.meet("equal-keepalived-first", 100, 100, leaves(keepalivedSide, p.skew)).with(preempt, "true"),
		p.meet("equal-pgvip-first", 100, 100, leaves(pgvipSide, p.skew)),
	}
}

// deaths: kill -9 of all processes, and of each of pgvip's two alone.
func (p protocol) deaths() []meeting {
	return []meeting{
		p.meet("kill-pgvip", 150, 100, dies(pgvipSide, p.down, expires)),
		p.meet("kill-keepalived", 100, 150, dies(keepalivedSide, p.down, keepalivedsOwn)),
		p.meet("kill-pgvip-main", 150, 100, mainDies(p.skew)),
		p.meet("kill-pgvip-keeper", 150, 100, keeperDies(p.skew)),
	}
}

// patience: preempt_delay.
func (p protocol) patience() []meeting {
	const delay = 2 * time.Second
	return []meeting{
		p.meet("pgvip-preempt-delay", 150, 100, preempts(pgvipSide, delay)).
			with("vip.preempt", "true").with("vip.preempt_delay", "2s"),
		p.meet("keepalived-preempt-delay", 100, 150, preempts(keepalivedSide, delay)).saying("preempt_delay 2"),
	}
}

// weights of scripts, which move the priority while both run.
func (p protocol) weights() []meeting {
	script := `{fault: {script: "/usr/bin/test ! -e FAULT", interval: 100ms, weight: WEIGHT}}`
	with := func(m meeting, weight string) meeting {
		return m.with("vip.track_script", strings.ReplaceAll(script, "WEIGHT", weight))
	}
	return []meeting{
		with(p.meet("script-of-pgvip-with-weight", 150, 100, scriptFails(p.down)), "-100"),
		with(p.meet("script-of-pgvip-without-weight", 150, 100, scriptFails(p.skew)), "0"),
	}
}

// partitions: both are Active while they do not hear each other, and one of them again
// when they do; and a cable that is out for a while.
func (p protocol) partitions() []meeting {
	low := func(m meeting) meeting { m.low = true; return m }
	return []meeting{
		p.meet("partition-pgvip-better", 150, 100, partition(pgvipSide)),
		p.meet("partition-keepalived-better", 100, 150, partition(keepalivedSide)),
		p.meet("partition-tie-pgvip-better", 100, 100, partition(pgvipSide)),
		low(p.meet("partition-tie-keepalived-better", 100, 100, partition(keepalivedSide))),
		p.meet("freeze-pgvip", 150, 100, standsStill(pgvipSide, p.down, expires)),
		p.meet("freeze-keepalived", 100, 150, standsStill(keepalivedSide, p.down, keepalivedsOwn)),
		p.meet("flap-pgvip", 150, 100, flaps(pgvipSide, p.down)),
		p.meet("flap-keepalived", 100, 150, flaps(keepalivedSide, p.down)),
	}
}

// ways in which adverts go.
func (p protocol) ways() []meeting {
	unicast := func(m meeting) meeting {
		return m.with("vip.unicast_src_ip", "PGVIP").with("vip.unicast_peer", "[KEEPALIVED]").
			saying("unicast_src_ip KEEPALIVED", "unicast_peer {", "PGVIP", "}", "check_unicast_src")
	}
	pass := func(m meeting) meeting {
		return m.with("vip.auth_pass", "secret").saying("authentication {", "auth_type PASS", "auth_pass secret", "}")
	}
	six := func(m meeting) meeting {
		// keepalived would have a link-local address first, as the RFC; it goes on without.
		m.six, m.complaints = true, []string{"should be link local"}
		return m
	}
	return []meeting{
		unicast(p.meet("unicast-pgvip-first", 150, 100, leaves(pgvipSide, p.skew))),
		unicast(p.meet("unicast-keepalived-first", 100, 150, leaves(keepalivedSide, p.skew))),
		unicast(v2().meet("unicast", 150, 100, leaves(pgvipSide, v2().skew))),
		pass(v2().meet("auth-pass-pgvip-first", 150, 100, leaves(pgvipSide, v2().skew))),
		pass(v2().meet("auth-pass-keepalived-first", 100, 150, leaves(keepalivedSide, v2().skew))),
		six(p.meet("ipv6-pgvip-first", 150, 100, leaves(pgvipSide, p.skew))),
		six(p.meet("ipv6-keepalived-first", 100, 150, leaves(keepalivedSide, p.skew))),
	}
}

// differences in what the two are told.
func (p protocol) differences() []meeting {
	const slowDown = 3610 * time.Millisecond // by an interval of 1 s
	// Before either has heard anything it goes by its own interval: so it has to wait longer
	// than the other one's.
	slow := p.meet("interval-of-keepalived-adopted", 100, 150, dies(keepalivedSide, slowDown, keepalivedsOwn)).with("vip.startup_delay", "3s")
	slow.keepalived.Advert = "1"
	// keepalived 2.2.7 was seen to take up to 0.5 s longer by a learned interval.
	slower := p.meet("interval-of-pgvip-adopted", 150, 100, dies(pgvipSide, slowDown+500*time.Millisecond, expires)).with("vip.advert_int", "1s")
	slower.keepalived.Global = []string{"vrrp_startup_delay 2"}

	// keepalived drops an advert with another number of addresses; pgvip does not.
	more := p.meet("more-addresses", 100, 150, leaves(keepalivedSide, p.skew))
	more.keepalived.VIP = []string{"10.99.0.101"}
	other := p.meet("other-addresses", 100, 150, leaves(keepalivedSide, p.skew)).with("vip.addresses", `["10.99.0.100", "10.99.0.102"]`)
	other.keepalived.VIP = []string{"10.99.0.101"}
	more.complaints, other.complaints = []string{"ip number"}, []string{"expected"}

	interval := v2().meet("interval-differs", 150, 100, bothOwn("another interval")).with("vip.advert_int", "2s")
	interval.complaints = []string{"interval mismatch", "invalid"}
	password := v2().meet("password-differs", 150, 100, bothOwn("other authentication")).with("vip.auth_pass", "secret").
		saying("authentication {", "auth_type PASS", "auth_pass guess", "}")
	password.complaints = []string{"passwd"}
	return []meeting{slow, slower, more, other, interval, password}
}
