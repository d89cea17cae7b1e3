package owner

import (
	"slices"
	"testing"
	"time"
)

// Who ends an ownership removes the address first and tells then.
func TestGivingUp(t *testing.T) {
	newer := Message{Kind: Ping, Boot: "b2", Term: 9, Seq: 1, Owner: true, Holds: true}
	for _, tt := range []struct {
		name string
		do   func(d *desk)
	}{
		{"the main process is gone", func(d *desk) { d.do(d.m.MainGone(d.now)) }},
		{"a newer term is heard", func(d *desk) { d.get("lb2", newer) }},
		{"the record names another", func(d *desk) {
			d.etcd.Revision++
			d.etcd.Record = Record{Owner: "lb2", Boot: "b2", Term: 7, Mod: d.etcd.Revision}
			d.do(d.m.Watched(d.now, d.etcd))
		}},
		{"nobody confirms it", func(d *desk) {
			d.dark = true
			for d.m.Status(d.now).Holds {
				d.pass(ms)
			}
		}},
		{"a gap in the clock", func(d *desk) { d.dark = true; d.now += 5 * time.Second; d.do(d.m.Tick(d.now)) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, own()).owns()
			tt.do(d)
			order := slices.DeleteFunc(d.order(), func(s string) bool { return s == "Hold" || s == "promise" })
			if want := []string{"Drop", "release lb2", "release lb3"}; len(order) < 3 || !slices.Equal(order[:3], want) {
				t.Errorf("did %v, want it to begin with %v", order, want)
			}
			if d.m.Status(d.now).Holds {
				t.Error("still holds")
			}
			d.did = nil
			d.dark = true
			d.pass(100 * ms)
			if n := len(d.sent(Release)); n < 4 {
				t.Errorf("%d more releases: one may get lost", n)
			}
		})
	}
}

// A machine that was stopped does not speak for a term that has run out.
func TestNoPingAfterTheDeadline(t *testing.T) {
	d := at(t, own()).owns()
	d.now += 5 * time.Second
	d.do(d.m.Tick(d.now))
	for _, p := range d.sent(Ping) {
		if p.Message.Owner && p.Message.Term == 6 {
			t.Errorf("still says that it owns: %+v", p.Message)
		}
	}
}

// What comes too late is too late: the address may have been promised to another.
func TestAcknowledgementAfterTheDeadline(t *testing.T) {
	d := at(t, own(), func(c *Config) { c.Peers = []string{"lb2"} }).owns()
	d.dark = true
	for d.m.Status(d.now).Holds && d.m.Status(d.now).Until-d.now > 5*ms {
		d.pass(ms)
	}
	pings := d.sent(Ping)
	last := pings[len(pings)-1].Message
	d.did = nil
	d.now += 50 * ms
	d.get("lb2", Message{Kind: Ack, Boot: "now", Term: last.Term, Seq: last.Seq, Grant: 500 * ms})
	if len(took[Drop](d)) != 1 {
		t.Errorf("did %v", d.order())
	}
}

// Rule 39: before a longer promise is used it stands in the record; a shorter one
// counts at once.
func TestPromises(t *testing.T) {
	d := at(t, own()).owns()
	for _, step := range []struct {
		do   func()
		hold time.Duration
	}{
		{func() { d.pass(800 * ms) }, 1200 * ms},
		{func() { d.pass(1500 * ms) }, 2500 * ms},
		{func() { d.acknowledged(300 * ms) }, 250 * ms},
		{func() { d.pass(800 * ms) }, 1200 * ms},
	} {
		step.do()
		if got := d.etcd.Record.Hold; got != step.hold {
			t.Errorf("the record promises %v, want %v", got, step.hold)
		}
		if left := d.m.own.read - d.now; left > step.hold {
			t.Errorf("lives on a promise of %v", left)
		}
	}
}

// What keeps an owner, and what does not.
func TestStaying(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(d *desk)
		owns bool
	}{
		{"etcd alone", func(d *desk) { d.pass(3 * time.Second) }, true},
		{"acknowledgements alone", func(d *desk) { d.dark = true; d.acknowledged(3 * time.Second) }, true},
		{"acknowledgements of one peer", func(d *desk) {
			d.dark = true
			d.acknowledged(3*time.Second, func(to string, m *Message) {
				if to == "lb3" {
					m.Boot = "another"
				}
			})
		}, false},
		{"acknowledgements of another term", func(d *desk) {
			d.dark = true
			d.acknowledged(3*time.Second, func(_ string, m *Message) { m.Term++ })
		}, false},
		{"late acknowledgements", func(d *desk) {
			d.dark = true
			d.acknowledged(3*time.Second, func(_ string, m *Message) { m.Seq -= 600_000 })
		}, false},
		{"reads while a claim stands that cannot be removed", func(d *desk) {
			d.etcd.Revision++
			d.etcd.Claim = Claim{Node: "lb2", Boot: "b2", Record: d.etcd.Record.Mod, Mod: d.etcd.Revision}
			for end := d.now + time.Second; d.now < end; {
				d.dark = true
				d.pass(10 * ms)
				for _, r := range d.waiting {
					if !r.writes() {
						d.do(d.m.Answer(d.now, r.ID, Reply{Snapshot: d.etcd}))
					}
				}
				d.waiting = nil
			}
		}, false},
		{"the key is deleted", func(d *desk) {
			d.etcd = Snapshot{Revision: d.etcd.Revision + 1}
			d.do(d.m.Watched(d.now, d.etcd))
			d.acknowledged(time.Second)
			if d.etcd.Record.Owner != "lb1" || d.etcd.Record.Term != 6 {
				d.t.Errorf("the key is not written again: %+v", d.etcd.Record)
			}
		}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, own()).owns()
			tt.do(d)
			if got := len(took[Drop](d)) == 0; got != tt.owns {
				t.Errorf("owns all the time: %v, want %v", got, tt.owns)
			}
		})
	}
}

// A claim against a living owner is removed at once, by the owner or by who hears it.
func TestRefuting(t *testing.T) {
	for _, tt := range []struct {
		name string
		desk func(t *testing.T) *desk
		by   string
		want bool
	}{
		{"the owner", func(t *testing.T) *desk { return at(t, own()).owns() }, "lb2", true},
		{"who hears the owner", func(t *testing.T) *desk { return at(t, others()).hear(700 * ms) }, "lb3", true},
		{"not who does not", func(t *testing.T) *desk { return at(t, others()).pass(900 * ms) }, "lb3", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.desk(t)
			d.did = nil
			d.etcd.Revision++
			d.etcd.Claim = Claim{Node: tt.by, Boot: "x", Record: d.etcd.Record.Mod, Mod: d.etcd.Revision}
			d.do(d.m.Watched(d.now, d.etcd))
			if got := len(d.asked("refute")) == 1; got != tt.want {
				t.Errorf("refutes: %v, want %v", got, tt.want)
			}
		})
	}
}

// Rule 43: a new keeper owns nothing until it has read that the record is still ours.
func TestResuming(t *testing.T) {
	mine := Record{Owner: "lb1", Boot: "now", Term: 5, Hold: 250 * ms}
	for _, tt := range []struct {
		name   string
		record Record
		claim  bool
		dark   bool
		want   []string
	}{
		{"ours", mine, false, false, []string{"Hold"}},
		{"ours, and claimed", mine, true, false, []string{"refute", "Hold"}},
		{"another's", others(), false, false, []string{"Drop"}},
		{"an earlier main process's", own(), false, false, []string{"Drop"}},
		{"nobody's", Record{}, false, false, []string{"Drop"}},
		{"unknown", mine, false, true, []string{"Drop"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cfg := func(c *Config) { c.Resume = true }
			d := &desk{t: t, now: time.Hour, dark: tt.dark, etcd: Snapshot{Revision: 9, Record: tt.record}}
			if tt.record.Owner != "" {
				d.etcd.Record.Mod = 7
			}
			if tt.claim {
				d.etcd.Claim = Claim{Node: "lb2", Record: 7, Mod: 8}
			}
			c := Config{Node: "lb1", Boot: "now", Priority: 100, Peers: []string{"lb2"}}
			cfg(&c)
			d.m, _ = New(c, d.now)
			d.do(d.m.Tick(d.now))
			d.pass(149 * ms)
			if tt.dark && len(d.order()) > 0 {
				t.Errorf("did %v too early", d.order())
			}
			d.pass(2 * ms)
			if got := d.order(); len(got) < len(tt.want) || !slices.Equal(got[:len(tt.want)], tt.want) {
				t.Errorf("did %v, want %v", got, tt.want)
			}
		})
	}
}
