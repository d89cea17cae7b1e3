package instance

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/vrrp/advert"
)

const ms = time.Millisecond

// me is the machine under test, with addresses below and above its own.
var (
	me    = netip.MustParseAddr("10.0.0.5")
	below = netip.MustParseAddr("10.0.0.4")
	above = netip.MustParseAddr("10.0.0.6")
)

// base is priority 100, 1 s, version 3: skew is 609.375 ms, Active_Down_Interval
// 3609.375 ms.
func base() Config {
	return Config{Version: 3, Priority: 100, Source: me, AdvertInt: time.Second, Preempt: true}
}

const skew100 = 156 * time.Second / 256

func heard(source netip.Addr, priority uint8, interval time.Duration) advert.Packet {
	return advert.Packet{Source: source, TTL: 255,
		Advert: advert.Advert{Version: 3, Priority: priority, Interval: interval}}
}

// brief writes actions down as a line; notes only with their kind and state.
func brief(acts []Action) string {
	var words []string
	for _, a := range acts {
		switch a := a.(type) {
		case SendAdvert:
			words = append(words, fmt.Sprintf("advert:%d", a.Priority))
		case AddAddresses:
			words = append(words, "add")
		case DropAddresses:
			words = append(words, "drop")
		case Announce:
			if a.Rival {
				words = append(words, "again")
			} else {
				words = append(words, "announce")
			}
		case Note:
			if a.Kind == "state" {
				words = append(words, strings.ToLower(string(a.State)))
			}
		}
	}
	return strings.Join(words, " ")
}

// step is one input and what has to follow from it.
type step struct {
	at    time.Duration
	do    string // start, stop, tick, fault WHY, recover, priority N, hear FROM PRIORITY INTERVAL
	want  string
	state State
	next  time.Duration // when the timer ends; 0 for none
}

func run(t *testing.T, c Config, steps []step) {
	t.Helper()
	m, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range steps {
		got := brief(apply(t, m, s))
		if got != s.want {
			t.Errorf("step %d, %s at %s: got %q, want %q", i, s.do, s.at, got, s.want)
		}
		if m.Status().State != s.state {
			t.Errorf("step %d, %s at %s: state %s, want %s", i, s.do, s.at, m.Status().State, s.state)
		}
		next, ok := m.Next()
		if !ok {
			next = 0
		}
		if next != s.next {
			t.Errorf("step %d, %s at %s: next at %s, want %s", i, s.do, s.at, next, s.next)
		}
	}
}

func apply(t *testing.T, m *Machine, s step) []Action {
	t.Helper()
	f := strings.Fields(s.do)
	switch f[0] {
	case "start":
		return m.Start(s.at)
	case "stop":
		return m.Stop(s.at)
	case "tick":
		return m.Tick(s.at)
	case "fault":
		return m.Fault(s.at, f[1])
	case "recover":
		return m.Fault(s.at, "")
	case "priority":
		var p uint8
		scan(t, f[1], &p)
		return m.SetPriority(s.at, p)
	case "hear":
		from := map[string]netip.Addr{"below": below, "above": above}[f[1]]
		var p uint8
		scan(t, f[2], &p)
		interval, err := time.ParseDuration(f[3])
		if err != nil {
			t.Fatal(err)
		}
		return m.Heard(s.at, heard(from, p, interval))
	}
	t.Fatalf("no such step: %q", s.do)
	return nil
}

func scan(t *testing.T, text string, p *uint8) {
	t.Helper()
	if _, err := fmt.Sscan(text, p); err != nil {
		t.Fatal(err)
	}
}

const s = time.Second

// toActive brings a router of priority 100 there at 3609.375 ms.
var toActive = []step{
	{0, "start", "backup", Backup, 3*s + skew100},
	{3*s + skew100, "tick", "active advert:100 add announce", Active, 4*s + skew100},
}

// TestRFC9568 follows section 6.4 state by state; the names are its words, shortened.
func TestRFC9568(t *testing.T) {
	const t0 = 3*s + skew100 // of toActive
	tests := []struct {
		name   string
		change func(*Config)
		steps  []step
	}{
		{"6.4.1 If the Priority = 255: Send an ADVERTISEMENT, broadcast a gratuitous ARP, Adver_Timer to Advertisement_Interval, Active",
			func(c *Config) { c.Priority = 255 }, []step{
				{0, "start", "active advert:255 add announce", Active, s},
			}},
		{"6.4.1 else: Set Active_Adver_Interval to Advertisement_Interval, Active_Down_Timer to Active_Down_Interval, Backup",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{3*s + skew100 - 1, "tick", "", Backup, 3*s + skew100},
			}},
		{"6.4.2 Shutdown: Cancel the Active_Down_Timer, Initialize",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "stop", "init", Initialize, 0},
				{9 * s, "tick", "", Initialize, 0},
				{9 * s, "hear above 200 1s", "", Initialize, 0},
			}},
		{"6.4.2 Active_Down_Timer fires: Send an ADVERTISEMENT, gratuitous ARP, Active", nil, toActive},
		{"6.4.2 Priority in the ADVERTISEMENT is 0: Set the Active_Down_Timer to Skew_Time",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear above 200 1s", "", Backup, 4*s + skew100},
				{2 * s, "hear above 0 1s", "", Backup, 2*s + skew100},
				{2*s + skew100, "tick", "active advert:100 add announce", Active, 3*s + skew100},
			}},
		{"6.4.2 Preempt_Mode is False: learn the interval, reset the timer, whatever the priority",
			func(c *Config) { c.Preempt = false }, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear below 1 100ms", "", Backup, s + 300*ms + skew100/10},
			}},
		{"6.4.2 Priority is greater than or equal to the local one: learn, recompute Skew_Time and Active_Down_Interval, reset",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear below 100 2s", "", Backup, s + 6*s + 2*skew100},
				{2 * s, "hear above 101 500ms", "", Backup, 2*s + 1500*ms + skew100/2},
			}},
		{"6.4.2 Preempt_Mode is True and the Priority is less: Discard",
			nil, []step{
				{0, "start", "backup", Backup, 3*s + skew100},
				{s, "hear above 99 10s", "", Backup, 3*s + skew100},
				{3*s + skew100, "tick", "active advert:100 add announce", Active, 4*s + skew100},
			}},
		{"6.4.3 Shutdown: Cancel the Adver_Timer, Send an ADVERTISEMENT with Priority = 0, Initialize",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "stop", "drop advert:0 init", Initialize, 0},
				step{t0 + s/2, "stop", "", Initialize, 0})},
		{"6.4.3 Adver_Timer fires: Send an ADVERTISEMENT, reset the Adver_Timer",
			nil, append(toActive[:2:2],
				step{t0 + s - 1, "tick", "", Active, t0 + s},
				step{t0 + s, "tick", "advert:100", Active, t0 + 2*s},
				step{t0 + 2*s + 30*ms, "tick", "advert:100", Active, t0 + 3*s + 30*ms})},
		{"6.4.3 Priority is 0: Send an ADVERTISEMENT, reset the Adver_Timer",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "hear above 0 1s", "advert:100", Active, t0 + 3*s/2})},
		{"6.4.3 Priority is greater than the local one: learn, Active_Down_Timer, Backup",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "hear below 101 2s", "drop advert:100 backup", Backup, t0 + s/2 + 6*s + 2*skew100})},
		{"6.4.3 Priority is equal and the primary address of the sender is greater: Backup",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "hear above 100 1s", "drop advert:100 backup", Backup, t0 + s/2 + 3*s + skew100})},
		{"6.4.3 in spite of Preempt_Mode False",
			func(c *Config) { c.Preempt = false }, append(toActive[:2:2],
				step{t0 + s/2, "hear below 101 1s", "drop advert:100 backup", Backup, t0 + s/2 + 3*s + skew100})},
		{"6.4.3 else: Discard, Send an ADVERTISEMENT immediately",
			nil, append(toActive[:2:2],
				step{t0 + s/2, "hear below 100 1s", "advert:100 again", Active, t0 + 3*s/2},
				step{t0 + s, "hear above 99 1s", "advert:100 again", Active, t0 + 2*s})},
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
