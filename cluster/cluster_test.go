package cluster

import (
	"net"
	"strings"
	"testing"
	"time"
)

// TestView: each node sees what the others say of themselves, and a configuration
// that differs.
func TestView(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2", "lb3")
	a, b := l.run("lb1"), l.run("lb2")
	c := l.run("lb3", func(o *Options) { o.ConfigHash, o.Version = "another", "1.1" })
	together(t, a, b, c)
	status := Status{
		Fitness:  Fitness{Listening: true, Healthy: 3},
		VIP:      VIP{State: "ACTIVE", Holds: true, Epoch: 17, Address: "10.0.0.100"},
		Counters: map[string]uint64{"clients": 5},
	}
	a.SetStatus(status)
	for _, s := range []*site{b, c} {
		eventually(t, "lb1's status", func() bool {
			n := s.node("lb1")
			return n.Status.VIP == status.VIP && n.Status.Fitness == status.Fitness && n.Status.Counters["clients"] == 5
		})
	}
	eventually(t, "lb3's report", func() bool {
		n := b.node("lb3")
		return !n.SameConfig && n.Version == "1.1" && n.PeerID == 3 && n.Heard >= 0 && n.Boot == c.options.Boot
	})
	if n := b.node("lb1"); !n.SameConfig {
		t.Error("lb1 is said to have another configuration")
	}
	if v := b.View(); v.Self != "lb2" || !v.Nodes[0].Self || len(v.Nodes) != 3 {
		t.Errorf("view %+v", v)
	}
}

// TestMetadata: what memberlist itself carries is enough to know who is Active.
func TestMetadata(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	a, b := l.run("lb1"), l.run("lb2")
	together(t, a, b)
	a.SetStatus(Status{VIP: VIP{State: "ACTIVE"}})
	eventually(t, "the metadata", func() bool {
		b.Cluster.mu.Lock()
		defer b.Cluster.mu.Unlock()
		m := b.members["lb1"].meta
		return m.VIP.State == "ACTIVE" && m.PeerID == 1 && m.Boot == a.options.Boot
	})
}

// TestRejoin: nodes that were parted come together again, even after memberlist
// has forgotten the dead, which it never dials.
func TestRejoin(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	short := func(o *Options) { o.forget = 100 * time.Millisecond }
	a, b := l.run("lb1", short), l.run("lb2", short)
	together(t, a, b)
	l.part("lb1", "lb2", true)
	for _, pair := range [][2]*site{{a, b}, {b, a}} {
		me, other := pair[0], pair[1].options.Name
		eventually(t, "it is missed", func() bool { return me.sees(other, Unreachable) && me.told(PeerUnreachable, other) })
		// Between two attempts there is a second, and memberlist forgets within 0.3 s.
		before := me.View().Counters.JoinErrors
		eventually(t, "it is looked for", func() bool { return me.View().Counters.JoinErrors >= before+2 })
	}
	l.part("lb1", "lb2", false)
	together(t, a, b)
}

// TestLeave: a goodbye is told from a death.
func TestLeave(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2", "lb3")
	a, b, c := l.run("lb1"), l.run("lb2"), l.run("lb3")
	together(t, a, b, c)
	b.leave()
	c.kill()
	eventually(t, "lb2 has left", func() bool { return a.sees("lb2", Left) && a.told(PeerLeft, "lb2") })
	eventually(t, "lb3 is gone", func() bool { return a.sees("lb3", Unreachable) && a.told(PeerUnreachable, "lb3") })
	if a.told(PeerUnreachable, "lb2") || a.told(PeerLeft, "lb3") {
		t.Error("one was taken for the other")
	}
}

// TestRestart: a node comes back as a new process, and at another address when the
// configuration says so.
func TestRestart(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	a, b := l.run("lb1"), l.run("lb2")
	together(t, a, b)
	first := b.options.Boot
	b.kill()
	b = l.run("lb2") // at once, before anybody has missed it
	together(t, a, b)
	if n := a.node("lb2"); n.Boot == first {
		t.Errorf("boot %s is still that of the first process", n.Boot)
	}
	b.kill()
	l.move("lb2")
	if err := a.Reload(a.options.Keys, l.peers("lb1"), "same"); err != nil {
		t.Fatal(err)
	}
	b = l.run("lb2")
	together(t, a, b)
}

// TestStrangers: who is not in the configuration, or not where it says, is not
// admitted, with the right key or without.
func TestStrangers(t *testing.T) {
	t.Parallel()
	t.Run("unknown address", func(t *testing.T) {
		t.Parallel()
		l := newLAN(t, "lb1", "lb2")
		a := l.run("lb1", func(o *Options) { o.Peers = []Peer{{"lb2", "127.0.0.1:1"}} })
		b := l.run("lb2")
		eventually(t, "lb1 turns it away", func() bool { return a.View().Counters.Strangers > 0 })
		if !a.sees("lb2", Never) || b.sees("lb1", Here) {
			t.Error("they have met")
		}
	})
	t.Run("unknown name", func(t *testing.T) {
		t.Parallel()
		l := newLAN(t, "lb1", "lb2", "lb9")
		a := l.run("lb1", func(o *Options) { o.Peers = []Peer{{"lb2", l.addrs["lb2"]}} })
		l.run("lb9", func(o *Options) { o.Peers = []Peer{{"lb1", l.addrs["lb1"]}} }) // on the host of lb2
		eventually(t, "lb1 tells", func() bool { return a.told(PeerRefused, "lb9") })
		if n := a.node("lb9"); n.Name != "" || a.list.NumMembers() != 1 {
			t.Errorf("lb1 has %d members", a.list.NumMembers())
		}
	})
	t.Run("known name at another's address", func(t *testing.T) {
		t.Parallel()
		l := newLAN(t, "lb1", "lb2", "lb3")
		a := l.run("lb1")
		l.run("lb2", func(o *Options) { o.Address = l.addrs["lb3"]; o.Peers = []Peer{{"lb1", l.addrs["lb1"]}} })
		eventually(t, "lb1 tells", func() bool { return a.told(PeerRefused, "lb2") })
		if a.list.NumMembers() != 1 {
			t.Errorf("lb1 has %d members", a.list.NumMembers())
		}
	})
	t.Run("packet", func(t *testing.T) {
		t.Parallel()
		l := newLAN(t, "lb1", "lb2")
		a := l.run("lb1")
		conn, err := net.Dial("udp", l.addrs["lb1"]) // from 127.0.0.1, which is nobody's
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := conn.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		eventually(t, "it is dropped", func() bool { return a.View().Counters.Strangers == 1 })
	})
	t.Run("name taken", func(t *testing.T) {
		t.Parallel()
		l := newLAN(t, "lb1", "lb2", "lb3")
		a := l.run("lb1", func(o *Options) { o.Peers = []Peer{{"lb2", l.addrs["lb2"]}} })
		l.run("lb3", func(o *Options) { o.Name = "lb1"; o.Peers = []Peer{{"lb2", l.addrs["lb1"]}} })
		eventually(t, "lb1 tells", func() bool { return a.told(NameTaken, "lb1") })
	})
}

// TestWrongKey, another scope: they do not meet, and it is said why.
func TestDoNotFit(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Options){
		"key":   func(o *Options) { o.Keys = [][]byte{key(2)} },
		"scope": func(o *Options) { o.Scope = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := newLAN(t, "lb1", "lb2")
			a, b := l.run("lb1"), l.run("lb2", change)
			for me, other := range map[*site]string{a: "lb2", b: "lb1"} {
				eventually(t, "it is told", func() bool { return me.told(PeerRefused, other) })
				n := me.node(other)
				if n.Presence != Never || n.Trouble == "" {
					t.Errorf("%+v", n)
				}
				for _, secret := range []string{string(key(1)), string(key(2))} {
					if strings.Contains(n.Trouble, secret) {
						t.Error("a key is shown")
					}
				}
			}
		})
	}
}

// TestKeyRotation: the key is replaced in three steps, and nobody misses anybody.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	a, b := l.run("lb1"), l.run("lb2")
	together(t, a, b)
	for _, keys := range [][][]byte{{key(1), key(2)}, {key(2), key(1)}, {key(2)}} {
		for _, s := range []*site{a, b} {
			if err := s.Reload(keys, s.options.Peers, "same"); err != nil {
				t.Fatal(err)
			}
		}
		n := a.node("lb2").Status.Fitness.Healthy + 1
		b.SetStatus(Status{Fitness: Fitness{Healthy: n}})
		eventually(t, "news under the keys", func() bool { return a.node("lb2").Status.Fitness.Healthy == n })
	}
	if a.told(PeerUnreachable, "lb2") || b.told(PeerUnreachable, "lb1") {
		t.Error("somebody was missed")
	}
	if keys := a.ring.GetKeys(); len(keys) != 1 || string(keys[0]) != string(key(2)) {
		t.Error("the old key is still in the ring")
	}
	// The old key alone is of no use any more.
	b.kill()
	b = l.run("lb2")
	eventually(t, "it is refused", func() bool { return b.told(PeerRefused, "lb1") })
}

// TestReloadChecks: what is wrong changes nothing.
func TestReloadChecks(t *testing.T) {
	t.Parallel()
	l := newLAN(t, "lb1", "lb2")
	a, b := l.run("lb1"), l.run("lb2")
	together(t, a, b)
	for name, err := range map[string]error{
		"no key":    a.Reload(nil, a.options.Peers, "x"),
		"short key": a.Reload([][]byte{{1}}, a.options.Peers, "x"),
		"itself":    a.Reload(a.options.Keys, []Peer{{"lb1", "127.0.0.1:1"}}, "x"),
		"no port":   a.Reload(a.options.Keys, []Peer{{"lb2", "127.0.0.1"}}, "x"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if n := a.node("lb1"); n.ConfigHash != "same" {
		t.Errorf("hash %q", n.ConfigHash)
	}
}
