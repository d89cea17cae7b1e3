package proxy

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
)

// twoHomes is a site of two nodes, both the shared server, whose pools live on
// different loops; primary makes one of them the primary, and fences nothing.
func twoHomes(t *testing.T, loops int) (s *site, primary func(i int)) {
	t.Helper()
	pg := postgres(t, 0)
	nodes := []*route.Node{node("n1", pg.Addr), node("n2", pg.Addr)}
	tables := []*route.Table{{Primary: nodes[0], Nodes: nodes}, {Primary: nodes[1], Nodes: nodes}, {Nodes: nodes}}
	s = newSite(t, plan{loops: loops, table: tables[0], proxy: func(set *Settings) { set.MaxClientConn = 1000 }})
	homes := make(map[*loop.Loop]bool)
	for _, n := range nodes {
		homes[s.pools.Pool(pool.Key{Node: n, Database: lab.AppDatabase, User: lab.TrustUser}, route.Primary).Loop()] = true
	}
	if len(homes) != 2 {
		t.Fatal("both pools live on one loop")
	}
	return s, func(i int) { s.proxy.SetTable(tables[i]) }
}

// TestMove: a client whose pool lives on another loop goes there, with all that
// it has sent.
func TestMove(t *testing.T) {
	s, primary := twoHomes(t, 2)
	c := login(t, s.primary)
	primary(2)
	c.send(pgscript.Query("SELECT 1"), pgscript.Query("SELECT 2"), pgscript.Query("SELECT 3")[:7])
	eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == 1 })
	from := s.proxy.sessions.all()[0].home.Load().loop
	primary(1)
	for _, want := range []string{"1", "2"} {
		if r := c.answer(); r.err != nil || r.rows[0] != want {
			t.Errorf("got %+v, want %s", r, want)
		}
	}
	c.send(pgscript.Query("SELECT 3")[7:])
	if r := c.answer(); r.err != nil || r.rows[0] != "3" {
		t.Errorf("the request that was cut: %+v", r)
	}
	if s.proxy.sessions.all()[0].home.Load().loop == from {
		t.Error("it has not moved")
	}
}

// TestMoveStorm: clients that are sent from loop to loop while they wait, with
// cancel requests after them and some leaving on the way, all get what is theirs.
func TestMoveStorm(t *testing.T) {
	s, primary := twoHomes(t, 3)
	var holders []*client
	for i := range 2 {
		primary(i)
		c := login(t, s.primary)
		c.exec("SELECT 1")
		holders = append(holders, c)
	}
	stop := make(chan struct{})
	var flipper, clients sync.WaitGroup
	var flips, moved, cancelled atomic.Int64
	flipper.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			primary(i % 3)
			// As fast as the loops can follow, no faster: the turn of each.
			s.onLoops(func(l *loop.Loop) {
				for _, c := range s.proxy.sessions.all() {
					if c.home.Load().loop == l && c.phase == moving {
						moved.Add(1)
					}
				}
			})
			flips.Add(1)
		}
	})
	for i := range 12 {
		clients.Go(func() {
			for n := range 10 {
				c := login(t, s.primary)
				want := fmt.Sprintf("%d %d", i, n)
				c.send(pgscript.Query("SELECT '" + want + "'"))
				switch (i + n) % 4 {
				case 0:
					c.cancel(s.primary)
				case 1:
					c.reset()
					continue
				}
				r := c.answer()
				switch {
				case r.state() == "57014" && (i+n)%4 == 0:
					cancelled.Add(1)
				case r.err != nil || r.rows[0] != want:
					t.Errorf("client %s: %q %v", want, r.rows, r.err)
				}
				c.leave()
			}
		})
	}
	eventually(t, "clients were sent to and fro", func() bool { return moved.Load() > 20 && flips.Load() > 50 })
	for _, h := range holders {
		h.leave()
	}
	clients.Wait()
	close(stop)
	flipper.Wait()
	if cancelled.Load() == 0 {
		t.Error("nothing was cancelled")
	}
	primary(0)
	eventually(t, "all have left", func() bool { return s.proxy.Clients() == 0 })
}

// TestShutdownWhileMoving ends every client, wherever it is.
func TestShutdownWhileMoving(t *testing.T) {
	s, primary := twoHomes(t, 2)
	var clients []*client
	for range 20 {
		c := login(t, s.primary)
		clients = append(clients, c)
	}
	primary(2)
	for _, c := range clients {
		c.send(pgscript.Query("SELECT pg_sleep(0.001)"), pgscript.Query("SELECT 1"))
	}
	eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == 20 })
	primary(1)
	s.stop()
	for _, c := range clients {
		for {
			r := c.answer() // some have been served
			if r.err != nil {
				if r.err.Code != "57P01" {
					t.Errorf("got %v, want 57P01", r.err)
				}
				break
			}
		}
	}
}
