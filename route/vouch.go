package route

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// vouchAfter is how long the leader key must be missing before Patroni's word is
// asked for instead: an election is over by then as a rule.
const vouchAfter = 2 * time.Second

// vouched is a primary that was accepted by SQL and Patroni's REST interface,
// since the store had nothing to say: the exception of rule 24. It counts until
// there is news of the key.
type vouched struct {
	member   string
	leader   string // the leader key then
	revision int64  // and its
}

// stillVouched reports that held was accepted without the key, and nothing has
// been heard of the key since.
func (b *builder) stillVouched(held string) bool {
	topo, v := &b.in.Topology, &b.next.memo.vouched
	return v.member == held && b.in.Freshness != Fresh && v.leader == topo.Leader && v.revision == topo.LeaderRevision
}

// vouchable says since when answers count that may stand in for the leader key,
// and whether a claim of failsafe mode belongs to them; ok is false when the key
// decides.
func (b *builder) vouchable() (since time.Time, failsafe, ok bool) {
	topo, m := &b.in.Topology, &b.next.memo
	since = latest(m.leaderSince, m.fencedAt)
	switch {
	case topo.Kind == StaticList, topo.Standby, topo.Revision == 0, !topo.Initialized:
		return since, false, false
	case topo.Paused:
		// Patroni's REST interface goes by the role alone then.
		return since, false, false
	case b.in.Freshness != Fresh:
		return latest(m.oldSince, since), false, b.in.EtcdBlind == BlindProbe
	default:
		// The one who could write the key may be the one who has lost etcd.
		missing := topo.Leader == "" && topo.Failsafe && m.proven.member == ""
		b.wakeIf(missing, m.leaderSince.Add(vouchAfter))
		return since, true, missing && !b.in.Now.Before(m.leaderSince.Add(vouchAfter))
	}
}

func (b *builder) wakeIf(cond bool, t time.Time) {
	if cond && t.After(b.in.Now) {
		b.wakeAt(t)
	}
}

// vouch gives the member that may be the primary without the key's word: the
// only writable one on the highest timeline, if its Patroni says the same. It is
// asked for that when there is one.
func (b *builder) vouch() string {
	since, failsafe, ok := b.vouchable()
	if !ok {
		return ""
	}
	name, why, many := b.soleWriter(since)
	if many {
		b.alarm(why)
	}
	if name == "" {
		return ""
	}
	a := b.in.REST[name]
	heard := !a.AskedAt.IsZero() && !a.AskedAt.Before(since)
	if heard && a.Primary && (a.Failsafe || !failsafe) && b.in.Now.Sub(a.AskedAt) < keptFor {
		return name
	}
	next := since
	if heard {
		next = a.AskedAt.Add(askEvery)
	}
	b.ask(Ask{Node: name, URL: b.apiURL(name), Since: next, Until: latest(next, b.in.Now).Add(askEvery)})
	return ""
}

// accept makes name lead by its word, and fences whoever was the primary.
func (b *builder) accept(name string) {
	topo, m := &b.in.Topology, &b.next.memo
	if held := m.proven.member; held != "" && held != name {
		b.end(held, fmt.Sprintf("%s is not writable, and %s: Patroni of %s says that it is the primary", held, b.newsAge(), name))
	}
	b.spoken = true
	m.relic = relic{} // Patroni of today has spoken
	m.vouched = vouched{member: name, leader: topo.Leader, revision: topo.LeaderRevision}
	m.apiURL = b.apiURL(name)
	if b.in.Freshness == Fresh {
		m.doubt = doubt{since: b.in.Now, why: "no leader key", kept: b.in.REST[name].AskedAt}
	}
	b.lead = name
}

// apiURL says where Patroni of a member listens.
func (b *builder) apiURL(name string) string {
	if m := b.in.Topology.Member(name); m != nil && m.APIURL != "" {
		return m.APIURL
	}
	return b.in.Topology.FailsafePeers[name]
}

// soleWriter gives the one node that takes writes on the highest timeline known,
// by an answer to a question asked at since or later. With none it says why not,
// and whether there are too many.
func (b *builder) soleWriter(since time.Time) (name, why string, many bool) {
	topo := &b.in.Topology
	top := max(topo.Timeline, b.newestTimeline())
	var writers []string
	for i := range topo.Members {
		m := &topo.Members[i]
		h := b.in.Health[m.Name]
		if m.Addr == "" || h.Addr != m.Addr || h.SystemID != topo.SystemID {
			continue
		}
		// A timeline counts whoever is on it: the newest data may be where nobody
		// answers just now.
		if h.Timeline > top {
			top, writers = h.Timeline, nil
		}
		if h.State == Up && h.Writable && h.Timeline == top && !h.AskedAt.Before(since) {
			writers = append(writers, m.Name)
		}
	}
	slices.Sort(writers)
	switch len(writers) {
	case 0:
		return "", fmt.Sprintf("no node is writable on timeline %d", top), false
	case 1:
		return writers[0], "", false
	default:
		return "", fmt.Sprintf("%s are both writable on timeline %d", strings.Join(writers, " and "), top), true
	}
}

// leadOfList sets lead for a list of servers, among whom SQL alone decides: the
// proven primary while it is writable, else the only writable one.
func (b *builder) leadOfList() {
	topo, m := &b.in.Topology, &b.next.memo
	held := m.proven.member
	if held != "" && topo.Member(held) == nil {
		b.end(held, "removed from the list")
		m.orphan, held = orphan{}, "" // whoever removed it knows
	}
	b.lead = held
	if h := b.in.Health[held]; held != "" && h.State == Up && h.Writable && h.Addr == b.leadAddr() {
		return
	}
	name, why, many := b.soleWriter(time.Time{})
	if b.noWriter = why; many {
		b.alarm(why)
	}
	if name == "" {
		return
	}
	if held != "" && name != held {
		b.end(held, held+" is not writable, and "+name+" is")
	}
	b.lead = name
}
