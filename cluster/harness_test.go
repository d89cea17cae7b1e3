package cluster

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"

	"github.com/pgvip/pgvip/internal/freeport"
)

// limit bounds every wait: it only ends tests that fail.
const limit = 20 * time.Second

func key(n byte) []byte { return bytes.Repeat([]byte{n}, 32) }

// lan is the network between the nodes of a test, which can be cut.
type lan struct {
	t testing.TB

	mu    sync.Mutex
	addrs map[string]string
	cut   map[[2]string]bool // from, to
}

// newLAN finds an address for each node.
func newLAN(t testing.TB, names ...string) *lan {
	l := &lan{t: t, addrs: map[string]string{}, cut: map[[2]string]bool{}}
	for _, name := range names {
		a, err := freeport.Addr()
		if err != nil {
			t.Fatal(err)
		}
		l.addrs[name] = a
	}
	return l
}

// move gives a node another address.
func (l *lan) move(name string) {
	addr := newLAN(l.t, name).addrs[name]
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addrs[name] = addr
}

// part cuts or joins two nodes, in both directions.
func (l *lan) part(a, b string, cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut[[2]string{a, b}], l.cut[[2]string{b, a}] = cut, cut
}

func (l *lan) filter(from string) func(netip.AddrPort) bool {
	return func(to netip.AddrPort) bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		for name, addr := range l.addrs {
			if addr == to.String() && l.cut[[2]string{from, name}] {
				return false
			}
		}
		return true
	}
}

// peers are all nodes but one.
func (l *lan) peers(self string) []Peer {
	var list []Peer
	for name, addr := range l.addrs {
		if name != self {
			list = append(list, Peer{name, addr})
		}
	}
	return list
}

// options are those of a node as it should be.
func (l *lan) options(name string) Options {
	return Options{
		Name: name, Scope: "demo", Boot: fmt.Sprintf("boot-%s-%d", name, time.Now().UnixNano()), Version: "1.0", PeerID: int(name[len(name)-1] - '0'),
		ConfigHash: "same", Address: l.addrs[name], Keys: [][]byte{key(1)}, Peers: l.peers(name),
		filter: l.filter(name),
	}
}

// site is one node and what it has told.
type site struct {
	*Cluster
	t    testing.TB
	once sync.Once

	mu     sync.Mutex
	events []Event
}

// run starts a node, after changes to its options.
func (l *lan) run(name string, change ...func(*Options)) *site {
	l.t.Helper()
	s := &site{t: l.t}
	o := l.options(name)
	o.Log = zaptest.NewLogger(l.t, zaptest.Level(zapcore.WarnLevel)).With(zap.String("node", name))
	o.Event = func(e Event) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events = append(s.events, e)
	}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	s.Cluster = c
	l.t.Cleanup(s.kill)
	return s
}

// kill ends a node without a word, once.
func (s *site) kill() { s.once.Do(s.end) }

// leave ends a node with a goodbye.
func (s *site) leave() { s.once.Do(s.Close) }

// node is what s knows of another.
func (s *site) node(name string) Node {
	for _, n := range s.View().Nodes {
		if n.Name == name {
			return n
		}
	}
	return Node{}
}

func (s *site) sees(name string, p Presence) bool { return s.node(name).Presence == p }

// told reports an event of this kind about a node.
func (s *site) told(kind EventKind, node string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.events, func(e Event) bool { return e.Kind == kind && e.Node == node })
}

// eventually waits until something has come true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(limit)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// together waits until all nodes see each other.
func together(t testing.TB, sites ...*site) {
	t.Helper()
	for _, a := range sites {
		for _, b := range sites {
			if a != b {
				name := b.options.Name
				eventually(t, a.options.Name+" sees "+name, func() bool { return a.sees(name, Here) && b.options.Boot == a.node(name).Boot })
			}
		}
	}
}
