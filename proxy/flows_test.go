package proxy

import (
	"maps"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// That opened and closed balance out after every kind of end is looked at by check,
// which ends each site of this package's tests.

// flowing takes what has changed, and gives the connections that are open.
func (s *site) flowing() map[Flow]bool {
	s.t.Helper()
	if s.flows == nil {
		s.flows = make(map[Flow]bool)
	}
	opened, closed := s.proxy.TakeFlows()
	for _, f := range closed {
		if !s.flows[f] {
			s.t.Errorf("%v is closed and was not open", f)
		}
		delete(s.flows, f)
	}
	for _, f := range opened {
		if s.flows[f] {
			s.t.Errorf("%v is opened twice", f)
		}
		s.flows[f] = true
	}
	return s.flows
}

func flowOf(c net.Conn) Flow {
	return Flow{c.LocalAddr().(*net.TCPAddr).AddrPort(), c.RemoteAddr().(*net.TCPAddr).AddrPort()}
}

// TestFlows: a connection is told from accept on, in whatever state its login is,
// until its end; sessions, operators and those who have said nothing alike.
func TestFlows(t *testing.T) {
	s := newSite(t, plan{})
	silent := dialTo(t, s.primary)
	session := login(t, s.primary)
	session.exec("SELECT 1")
	want := map[Flow]bool{flowOf(silent.conn): true, flowOf(session.conn): true}
	eventually(t, "both are told", func() bool { return maps.Equal(s.flowing(), want) })
	session.leave()
	delete(want, flowOf(session.conn))
	eventually(t, "the end of the session is told", func() bool { return maps.Equal(s.flowing(), want) })
	silent.conn.Close()
	eventually(t, "the other's too", func() bool { return len(s.flowing()) == 0 })
}

// TestFlowsOfOperators end with their connections, by which time the proxy has long
// forgotten them.
func TestFlowsOfOperators(t *testing.T) {
	d := new(desk)
	s := newSite(t, plan{console: d.console(), proxy: func(c *Settings) { c.AuthMethod = auth.Any }})
	c := login(t, s.primary, "database", "pgbouncer")
	if f := s.flowing(); !f[flowOf(c.conn)] {
		t.Errorf("told %v, want %v", f, flowOf(c.conn))
	}
	d.conns[0].Close()
	d.conns[0].Close()
	eventually(t, "its end is told", func() bool { return len(s.flowing()) == 0 })
}

// TestFlowsAreWatched where somebody wants to know, alone.
func TestFlowsAreWatched(t *testing.T) {
	vip := netip.MustParseAddr("127.0.0.2")
	f := flows{watch: func(local netip.Addr) bool { return local == vip }}
	for _, at := range []struct {
		local string
		want  bool
	}{{"127.0.0.1", false}, {"127.0.0.2", true}} {
		// Of both families, as with the host "*": IPv4 is mapped there.
		l, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		client, err := net.Dial("tcp", net.JoinHostPort(at.local, port))
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		conn, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		flow := f.opened(conn)
		if got := flow != nil; got != at.want {
			t.Errorf("connection to %s: told %v, want %v", at.local, got, at.want)
		}
		if flow != nil && *flow != flowOf(client) {
			t.Errorf("told %v, want %v", *flow, flowOf(client))
		}
	}
	if f := (flows{}); f.opened(nil) != nil {
		t.Error("nobody wants to know, and something is noted")
	}
}

// TestEndMoved: those whose address has gone are ended, whatever they do, and what
// they have under way is cancelled; others notice nothing.
func TestEndMoved(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: poolSize(3)})
	other := login(t, s.primary)
	other.exec("BEGIN")
	vip := netip.MustParseAddr("127.0.0.2")
	at := s.serveAt(vip.String(), route.Primary)
	idle, inside, busy := login(t, at), login(t, at), login(t, at)
	inside.exec("BEGIN")
	busy.send(pgscript.Query("SELECT pg_sleep(600)"))
	pg.sleeping(t, 1)
	s.proxy.EndMoved(func(local netip.Addr) bool { return local == vip }, true)
	if got := idle.fatal(); got != "57P01" {
		t.Errorf("who waits for nothing: SQLSTATE %q, want 57P01", got)
	}
	if n := s.phases()[bound]; n != 3 {
		t.Errorf("%d clients have servers, want all three who are in something", n)
	}
	if got := s.proxy.EndMoved(func(local netip.Addr) bool { return local == vip }, false); got != 2 {
		t.Errorf("%d sessions ended, want 2", got)
	}
	for _, tt := range []struct {
		name string
		c    *client
		want string
	}{{"in a transaction", inside, "57P01"}, {"in a statement", busy, "08007"}} {
		if got := tt.c.fatal(); got != tt.want {
			t.Errorf("%s: SQLSTATE %q, want %s", tt.name, got, tt.want)
		}
	}
	pg.sleeping(t, 0)
	if r := other.exec("COMMIT"); r.tags[0] != "COMMIT" {
		t.Errorf("a client of another address: %+v", r)
	}
}

// TestManyFlows: ten thousand clients, each of whom is told once, and once again
// when it goes, however often somebody asks. They come in two waves, since both
// ends of their sockets are in this process.
func TestManyFlows(t *testing.T) {
	n := 5_000
	if inTLS() {
		n = 500 // handshakes take their time
	}
	s := newSite(t, plan{loops: 2, proxy: func(c *Settings) { c.MaxClientConn = n }})
	for range 2 {
		clients := s.wave(n)
		want := make(map[Flow]bool)
		for _, c := range clients {
			want[flowOf(c.conn)] = true
		}
		if got := s.flowing(); !maps.Equal(got, want) {
			t.Fatalf("%d are told, want the %d there are", len(got), len(want))
		}
		for i, c := range clients {
			if i%2 == 0 {
				c.reset()
			} else {
				c.conn.Close()
			}
		}
		eventually(t, "all ends are told", func() bool { return len(s.flowing()) == 0 && s.proxy.Clients() == 0 })
	}
}

// wave has n clients log in, and asks for changes all the while.
func (s *site) wave(n int) []*client {
	clients := make([]*client, n)
	var all sync.WaitGroup
	const workers = 16
	for w := range workers {
		all.Go(func() {
			for i := w; i < n; i += workers {
				clients[i] = login(s.t, s.primary)
			}
		})
	}
	come := make(chan struct{})
	go func() {
		all.Wait()
		close(come)
	}()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-come:
			return clients
		case <-tick.C:
			s.flowing()
		}
	}
}
