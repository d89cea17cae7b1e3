package instance

import (
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestBeyondTheRFC is what keepalived has besides, and what neither of them has.
func TestBeyondTheRFC(t *testing.T) {
	const t0 = 3*s + skew100 // of toActive
	tests := []struct {
		name   string
		change func(*Config)
		steps  []step
	}{
		{"version 2: skew is a part of a second, the interval is its own",
			func(c *Config) { c.Version, c.AdvertInt = 2, 2*s }, []step{
				{0, "start", "backup", Backup, 6*s + skew100},
				{s, "hear above 200 2s", "", Backup, s + 6*s + skew100},
			}},
		{"down_timer_adverts", func(c *Config) { c.DownTimerAdverts = 5 }, []step{
			{0, "start", "backup", Backup, 5*s + skew100},
		}},
		{"preempt_delay: bears a lower priority so long, and forgets it for a higher one",
			func(c *Config) { c.PreemptDelay = 5 * s }, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear above 50 1s", "", Backup, 4*s + skew100},
				{2 * s, "hear above 150 1s", "", Backup, 5*s + skew100},
				{3 * s, "hear above 50 1s", "", Backup, 6*s + skew100}, // to be borne until 8 s
				{4 * s, "hear above 50 1s", "", Backup, 7*s + skew100},
				{7 * s, "hear above 50 1s", "", Backup, 10*s + skew100},
				{8 * s, "hear above 50 1s", "", Backup, 10*s + skew100},
				{10*s + skew100, "tick", "active advert:100 add announce", Active, 11*s + skew100},
			}},
		{"startup_delay: nobody heard",
			func(c *Config) { c.StartupDelay = 10 * s }, []step{
				{s, "start", "backup", Backup, 11 * s},
				{4*s + skew100, "tick", "", Backup, 11 * s},
				{11 * s, "tick", "active advert:100 add announce", Active, 12 * s},
			}},
		{"startup_delay: ends with the first advert, even of a lower priority",
			func(c *Config) { c.StartupDelay = 10 * s }, []step{
				{s, "start", "backup", Backup, 11 * s},
				{2 * s, "hear above 50 1s", "", Backup, 5*s + skew100},
				{3 * s, "hear above 50 1s", "", Backup, 5*s + skew100},
				{5*s + skew100, "tick", "active advert:100 add announce", Active, 6*s + skew100},
			}},
		{"startup_delay: ends with one that leaves",
			func(c *Config) { c.StartupDelay = 10 * s }, []step{
				{s, "start", "backup", Backup, 11 * s},
				{2 * s, "hear above 0 1s", "", Backup, 2*s + skew100},
			}},
		{"another router that leaves makes no room",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear above 200 1s", "", Backup, 4*s + skew100},
				{2 * s, "hear below 0 1s", "", Backup, 4*s + skew100},
			}},
		{"of two that are Active the better counts, as long as it is heard",
			func(c *Config) { c.Preempt = false }, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear above 200 1s", "", Backup, 4*s + skew100},
				{s + 1, "hear below 150 100ms", "", Backup, 4*s + skew100},
				{s + 1, "hear below 200 100ms", "", Backup, 4*s + skew100},
				{5 * s / 2, "hear below 150 100ms", "", Backup, 4*s + skew100},
				{5*s/2 + 1, "hear below 150 100ms", "", Backup, 5*s/2 + 1 + 300*ms + skew100/10},
			}},
		{"fault of a Backup, and recovery",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "fault link", "fault", Fault, 0},
				{2 * s, "fault link", "", Fault, 0},
				{2 * s, "fault script", "fault", Fault, 0},
				{3 * s, "hear above 0 1s", "", Fault, 0},
				{9 * s, "tick", "", Fault, 0},
				{10 * s, "recover", "backup", Backup, 13*s + skew100},
				{10 * s, "recover", "", Backup, 13*s + skew100},
			}},
		{"fault of an Active router: the address goes before the word",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "fault link", "drop advert:0 fault", Fault, 0},
				step{t0 + s, "stop", "init", Initialize, 0})},
		{"recovery of one that owns the addresses",
			func(c *Config) { c.Priority = 255 }, []step{
				{0, "fault link", "", Initialize, 0},
				{0, "start", "fault", Fault, 0},
				{s, "recover", "active advert:255 add announce", Active, 2 * s},
			}},
		{"what was learned is forgotten with Fault",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear above 200 4s", "", Backup, s + 12*s + 4*skew100},
				{2 * s, "fault link", "fault", Fault, 0},
				{3 * s, "recover", "backup", Backup, 6*s + skew100},
			}},
		{"a start is one, and comes again after a stop",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "start", "", Backup, 3*s + skew100},
				{2 * s, "stop", "init", Initialize, 0},
				{3 * s, "start", "backup", Backup, 6*s + skew100},
			}},
		{"a changed priority moves the timer of a Backup",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "priority 228", "", Backup, 3*s + 28*s/256},
				{s, "priority 228", "", Backup, 3*s + 28*s/256},
			}},
		{"a changed priority of an Active router is told at once",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "priority 90", "advert:90", Active, t0 + 3*s/2},
				step{t0 + s, "hear below 95 1s", "drop advert:90 backup", Backup, t0 + 4*s + 166*s/256})},
		{"an advert that has just gone need not be said again",
			nil, append(toActive[:2:2],
				step{t0 + 99*ms, "hear below 50 1s", "again", Active, t0 + s},
				step{t0 + 100*ms, "hear below 50 1s", "advert:100 again", Active, t0 + 1100*ms})},
		{"priority 0 is for leaving: 1 is the least",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "priority 0", "advert:1", Active, t0 + 3*s/2})},
		{"time that runs backwards stands still",
			nil, []step{
				{5 * s, "start", "backup", Backup, 8*s + skew100},
				{s, "hear above 200 1s", "", Backup, 8*s + skew100},
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := base()
			if tt.change != nil {
				tt.change(&c)
			}
			run(t, c, tt.steps)
		})
	}
}

// TestOwnPause is for a process that did not run for a while: SIGSTOP, a machine that
// was suspended, no processor.
func TestOwnPause(t *testing.T) {
	const t0 = 3*s + skew100 // of toActive
	const wake = t0 + 60*s
	tests := []struct {
		name   string
		change func(*Config)
		steps  []step
	}{
		{"Active: shorter than any Backup waits, nothing", nil, append(toActive[:2:2],
			step{t0 + 3*s - 1, "tick", "advert:100", Active, t0 + 4*s - 1})},
		{"Active: longer, listens first", nil, append(toActive[:2:2],
			step{t0 + 3*s, "tick", "drop backup", Backup, t0 + 6*s + skew100},
			step{t0 + 6*s + skew100, "tick", "active advert:100 add announce", Active, t0 + 7*s + skew100})},
		{"Active: wakes beside one that preempt off leaves alone",
			func(c *Config) { c.Preempt = false }, append(toActive[:2:2],
				step{wake, "hear below 50 1s", "drop backup", Backup, wake + 3*s + skew100},
				step{wake + s, "tick", "", Backup, wake + 3*s + skew100})},
		{"Active: wakes and hears that its successor leaves", nil, append(toActive[:2:2],
			step{wake, "hear below 0 1s", "drop backup", Backup, wake + skew100})},
		{"Active: wakes by a changed priority", nil, append(toActive[:2:2],
			step{wake, "priority 90", "drop backup", Backup, wake + 3*s + 166*s/256})},
		{"Active: wakes to stop", nil, append(toActive[:2:2],
			step{wake, "stop", "drop advert:0 init", Initialize, 0})},
		{"Active: with one advert missed it may be replaced, but that is no pause yet",
			func(c *Config) { c.DownTimerAdverts = 1 }, []step{
				{0, "start", "backup", Backup, s + skew100},
				{s + skew100, "tick", "active advert:100 add announce", Active, 2*s + skew100},
				{2*s + skew100, "tick", "advert:100", Active, 3*s + skew100},
				{4*s + skew100, "tick", "drop backup", Backup, 5*s + 2*skew100},
			}},
		{"Backup: late beyond an advert, waits for one more", nil, []step{
			{0, "start", "backup", Backup, 3*s + skew100},
			{s, "hear above 200 1s", "", Backup, 4*s + skew100},
			{60 * s, "tick", "", Backup, 61*s + skew100},
			{60*s + 1, "hear above 200 1s", "", Backup, 63*s + 1 + skew100},
		}},
		{"Backup: and takes over when there is none", nil, []step{
			{0, "start", "backup", Backup, 3*s + skew100},
			{60 * s, "tick", "", Backup, 61*s + skew100},
			{61*s + skew100, "tick", "active advert:100 add announce", Active, 62*s + skew100},
		}},
		{"Backup: late within an advert", nil, []step{
			{0, "start", "backup", Backup, 3*s + skew100},
			{4*s + skew100, "tick", "active advert:100 add announce", Active, 5*s + skew100},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := base()
			if tt.change != nil {
				tt.change(&c)
			}
			run(t, c, tt.steps)
		})
	}
}

func TestStatusNamesTheOwner(t *testing.T) {
	m, err := New(base())
	if err != nil {
		t.Fatal(err)
	}
	check := func(what string, want Status) {
		t.Helper()
		if got := m.Status(); got != want {
			t.Errorf("%s: got %+v, want %+v", what, got, want)
		}
	}
	check("before", Status{State: Initialize, Priority: 100})
	m.Start(0)
	check("started", Status{State: Backup, Priority: 100})
	m.Heard(s, heard(above, 200, s))
	check("heard", Status{State: Backup, Priority: 100, Owner: above, Ready: true})
	m.Heard(s, heard(above, 0, s))
	check("left", Status{State: Backup, Priority: 100, Ready: true})
	m.Tick(s + skew100)
	check("took over", Status{State: Active, Priority: 100, Owner: me, Ready: true})
	m.SetSource(below)
	check("renumbered", Status{State: Active, Priority: 100, Owner: below, Ready: true})
	m.Fault(s+skew100, "link")
	check("fault", Status{State: Fault, Why: "link", Priority: 100, Ready: true})
	m.Stop(s + skew100)
	check("stopped", Status{State: Initialize, Why: "link", Priority: 100})
}

func TestNotesAreForOperators(t *testing.T) {
	m, err := New(base())
	if err != nil {
		t.Fatal(err)
	}
	var notes []string
	tell := func(acts []Action) {
		for _, a := range acts {
			if n, ok := a.(Note); ok {
				warn := ""
				if n.Warn {
					warn = "! "
				}
				notes = append(notes, warn+n.Kind+" "+string(n.State)+": "+n.Text)
			}
		}
	}
	tell(m.Start(0))
	tell(m.Heard(s, heard(above, 200, s)))
	tell(m.Heard(2*s, heard(above, 200, s)))
	tell(m.Tick(5*s + skew100))
	tell(m.Heard(6*s, heard(below, 50, s)))
	tell(m.Heard(7*s, heard(below, 50, s)))
	tell(m.Heard(8*s, heard(above, 200, s)))
	tell(m.Heard(8*s, heard(above, 0, s)))
	tell(m.Tick(8*s + skew100))
	tell(m.Tick(12*s + skew100))
	tell(m.Heard(13*s, heard(above, 50, s)))
	tell(m.Tick(16*s + 2*skew100))
	tell(m.Fault(17*s, "eth0 is down"))
	want := `state BACKUP: started (priority 100)
peer : 10.0.0.6 is Active with priority 200
state ACTIVE: 10.0.0.6 is not heard any more (priority 100)
! conflict : 10.0.0.4 was Active, too, with priority 50
state BACKUP: 10.0.0.6 is Active with priority 200 (priority 100)
state ACTIVE: the Active router has left (priority 100)
! state BACKUP: stood still for 4s: listens first (priority 100)
peer : 10.0.0.6 is Active with priority 50
state ACTIVE: takes over from priority 50 (priority 100)
! state FAULT: eth0 is down (priority 100)`
	if got := strings.Join(notes, "\n"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWithoutAnAddressNobodyIsBeaten(t *testing.T) {
	c := base()
	c.Source = netip.Addr{}
	run(t, c, append(toActive[:2:2],
		step{4 * s, "hear below 100 1s", "drop advert:100 backup", Backup, 7*s + skew100}))
}

func TestConfigIsChecked(t *testing.T) {
	_, err := New(Config{AdvertInt: -time.Second, DownTimerAdverts: 101, PreemptDelay: -1, StartupDelay: -1})
	for _, key := range []string{"version", "priority", "advert_int", "down_timer_adverts", "preempt_delay", "startup_delay"} {
		if err == nil || !strings.Contains(err.Error(), key+":") {
			t.Errorf("%s is not in %v", key, err)
		}
	}
}
