package owner

import (
	"testing"
	"time"
)

// Rule 42: a lasting worse score moves the address, priorities only with preemption.
func TestWhomItMovesTo(t *testing.T) {
	fit := func(healthy, priority int, wants bool) func(*Message) {
		return func(m *Message) {
			m.Fitness.Healthy, m.Priority, m.Wants = healthy, priority, wants
		}
	}
	for _, tt := range []struct {
		name   string
		lb2    func(*Message)
		do     func(d *desk)
		offers string
		within time.Duration
	}{
		{"equal", fit(3, 100, false), nil, "", 0},
		{"a higher priority that does not preempt", fit(3, 200, false), nil, "", 0},
		{"a higher priority that preempts", fit(3, 200, true), nil, "lb2", 6 * time.Second},
		{"the same priority that preempts", fit(3, 100, true), nil, "", 0},
		{"fitter", fit(4, 50, false), nil, "lb2", 6 * time.Second},
		{"less fit, preempts", fit(2, 200, true), nil, "", 0},
		{"a planned move to the best", fit(3, 110, false), func(d *desk) { d.do(d.m.Move(d.now, "*")) }, "lb2", 100 * ms},
		{"a planned move to one", fit(3, 110, false), func(d *desk) { d.do(d.m.Move(d.now, "lb3")) }, "lb3", 100 * ms},
		{"a planned move to nobody", fit(3, 110, false), func(d *desk) { d.do(d.m.Move(d.now, "lb9")) }, "", 0},
		{"a planned move that was taken back", fit(3, 110, false), func(d *desk) {
			d.do(d.m.Move(d.now, "-"))
		}, "", 0},
		{"a fault", fit(3, 100, false), func(d *desk) { d.do(d.m.Fit(d.now, Fitness{Listening: true, Healthy: 3, Fault: true})) }, "lb2", 100 * ms},
		{"leaving", fit(3, 100, false), func(d *desk) { d.do(d.m.Leave(d.now)) }, "lb2", 100 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, own()).owns()
			start := d.now
			if tt.do != nil {
				tt.do(d)
			}
			seq := uint64(0)
			for d.now < start+6*time.Second && len(d.sent(Offer)) == 0 && d.m.Status(d.now).Owns {
				for _, name := range []string{"lb2", "lb3"} {
					m := Message{Kind: Ping, Boot: name, Seq: seq, Priority: 100, Fitness: Fitness{Listening: true, Healthy: 3}}
					if name == "lb2" {
						tt.lb2(&m)
					}
					seq++
					d.get(name, m)
				}
				d.pass(50 * ms)
			}
			got := ""
			if o := d.sent(Offer); len(o) > 0 {
				got = o[0].To
			}
			if got != tt.offers || got != "" && d.now-start > tt.within {
				t.Errorf("offers the address to %q after %v, want %q within %v", got, d.now-start, tt.offers, tt.within)
			}
		})
	}
}

func TestCompareFitness(t *testing.T) {
	best := Fitness{Listening: true, Healthy: 3}
	for _, tt := range []struct {
		name string
		a, b Fitness
		want int
	}{
		{"equal", best, best, 0},
		{"weights decide nothing", best, Fitness{Listening: true, Healthy: 3, Weight: 50}, 0},
		{"more servers", best, Fitness{Listening: true, Healthy: 2}, 1},
		{"news before servers", best, Fitness{Listening: true, Healthy: 9, Blind: true}, 1},
		{"ports before news", Fitness{Listening: true, Blind: true}, Fitness{Healthy: 9}, 1},
		{"a fault before all", Fitness{}, Fitness{Listening: true, Healthy: 3, Fault: true}, 1},
	} {
		if got, back := tt.a.Compare(tt.b), tt.b.Compare(tt.a); got != tt.want || back != -tt.want {
			t.Errorf("%s: %d and %d, want %d", tt.name, got, back, tt.want)
		}
	}
}

func TestLeaving(t *testing.T) {
	d := at(t, own()).owns()
	d.do(d.m.Leave(d.now)) // nobody there takes it
	d.pass(1100 * ms)
	if st := d.m.Status(d.now); st.Owns || !st.Left || st.Priority != 0 {
		t.Errorf("after Leave: %+v", st)
	}
	d.did = nil
	d.pass(3 * time.Second)
	if got := d.order(); len(got) > 0 {
		t.Errorf("does %v after it has left", got)
	}
}

// Who is elsewhere when etcd is gone does not believe in an outage.
func TestOutageNeedsAllAtOneTime(t *testing.T) {
	dark := func(since, heard time.Duration) Message {
		return Message{Kind: Ping, Boot: "x", Seq: uint64(heard), Dark: true, DarkFor: heard - since}
	}
	for _, tt := range []struct {
		name     string
		lb2, lb3 [2]time.Duration // without etcd from, heard last; lb1 is from 700 ms on
		want     bool
	}{
		{"all", [2]time.Duration{700 * ms, 1500 * ms}, [2]time.Duration{800 * ms, 1500 * ms}, true},
		{"one was earlier", [2]time.Duration{0, 600 * ms}, [2]time.Duration{700 * ms, 1500 * ms}, false},
		{"two were not at the same time", [2]time.Duration{700 * ms, 1000 * ms}, [2]time.Duration{1100 * ms, 1500 * ms}, false},
		{"one is not", [2]time.Duration{700 * ms, 1500 * ms}, [2]time.Duration{}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, others(), func(c *Config) { c.ARP = true }).hear(700 * ms)
			d.dark = true
			last := d.m.etcdOK
			for d.now < last+1600*ms {
				d.pass(10 * ms)
				if x := d.now - last; x >= tt.lb2[1] && x < tt.lb2[1]+10*ms {
					d.get("lb2", dark(tt.lb2[0], tt.lb2[1]))
				}
				if x := d.now - last; tt.lb3[1] > 0 && x >= tt.lb3[1] && x < tt.lb3[1]+10*ms {
					d.get("lb3", dark(tt.lb3[0], tt.lb3[1]))
				}
			}
			if got := d.m.Status(d.now).Outage; got != tt.want {
				t.Errorf("believes in an outage: %v, want %v", got, tt.want)
			}
		})
	}
}

func TestConfigFaults(t *testing.T) {
	good := Config{Node: "lb1", Boot: "b", Priority: 100, Peers: []string{"lb2"}}
	if _, err := New(good, 0); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Config){
		"no name":            func(c *Config) { c.Node = "" },
		"no boot":            func(c *Config) { c.Boot = "" },
		"priority 0":         func(c *Config) { c.Priority = 0 },
		"priority 255":       func(c *Config) { c.Priority = 255 },
		"its own peer":       func(c *Config) { c.Peers = []string{"lb1"} },
		"a peer twice":       func(c *Config) { c.Peers = []string{"lb2", "lb2"} },
		"promises backwards": func(c *Config) { c.Silent = 100 * ms },
		"no beat":            func(c *Config) { c.Beat = -1 },
	} {
		c := good
		change(&c)
		if _, err := New(c, 0); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
