package proxy

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/stats"
)

// list is what SHOW CLIENTS is made of, sorted by state.
func (s *site) list() []stats.Socket {
	s.t.Helper()
	clients, err := s.proxy.ClientList(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	slices.SortFunc(clients, func(a, b stats.Socket) int { return strings.Compare(a.State, b.State) })
	return clients
}

// TestClientsSayWhatTheyWaitFor: each client's row, on more than one loop.
func TestClientsSayWhatTheyWaitFor(t *testing.T) {
	s := newSite(t, plan{loops: 2})
	holder, waiter, idle := login(t, s.primary), login(t, s.primary, "application_name", "shop"), login(t, s.primary)
	holder.exec("SELECT 1")
	s.waits(waiter, "SELECT 1", 0)
	clients := s.list()
	if len(clients) != 3 {
		t.Fatalf("%d clients, want 3: %+v", len(clients), clients)
	}
	active, resting, waiting := clients[0], clients[1], clients[2]
	if active.ID != uint64(holder.pid) || active.State != "active" || active.Link == 0 || active.Node != "n1" || !active.Requested.After(active.Connected.Add(-1)) {
		t.Errorf("client with a server: %+v", active)
	}
	if resting.ID != uint64(idle.pid) || resting.State != "idle" || resting.Link != 0 || resting.Reason != "" {
		t.Errorf("idle client: %+v", resting)
	}
	if waiting.ID != uint64(waiter.pid) || waiting.State != "waiting" || !strings.Contains(waiting.Reason, "default_pool_size") ||
		waiting.AppName != "shop" || waiting.Unread == 0 || waiting.User != lab.TrustUser || waiting.Database != lab.AppDatabase {
		t.Errorf("waiting client: %+v", waiting)
	}
	if got := waiting.Addr.String(); got != waiter.conn.LocalAddr().String() || waiting.LocalAddr.String() != s.primary {
		t.Errorf("addresses %s and %s, want %s and %s", got, waiting.LocalAddr, waiter.conn.LocalAddr(), s.primary)
	}
	servers, err := s.pools.Servers(t.Context())
	if err != nil || len(servers) != 1 || servers[0].Link != active.ID || servers[0].ID != active.Link {
		t.Errorf("servers: %+v, %v; want the one of client %d", servers, err, active.ID)
	}
	holder.leave()
	waiter.answer()
}

// TestAccountsCountWhoWaitsForANode: such clients are in no pool's queue.
func TestAccountsCountWhoWaitsForANode(t *testing.T) {
	s := newSite(t, plan{})
	login(t, s.primary).leave() // what PostgreSQL says at login is known from now on
	s.proxy.SetTable(table(nil))
	client := login(t, s.primary)
	login(t, s.primary)
	client.send(pgscript.Query("SELECT 1"))
	eventually(t, "the client waits", func() bool { return s.phases()[parked] == 1 })
	accounts, err := s.proxy.Accounts(t.Context())
	want := stats.Account{Database: lab.AppDatabase, User: lab.TrustUser, Clients: 2, Waiting: 1}
	if err != nil || len(accounts) != 1 {
		t.Fatalf("accounts: %+v, %v; want one", accounts, err)
	}
	if want.MaxWait = accounts[0].MaxWait; accounts[0] != want {
		t.Errorf("account: %+v, want %+v", accounts[0], want)
	}
	_, crowds, err := s.proxy.Census(t.Context())
	if err != nil || len(crowds) != 2 || crowds[0].Clients != 2 || crowds[0].Waiting != 1 || crowds[1] != (stats.Crowd{Role: "replica"}) {
		t.Errorf("crowds: %+v, %v; want two clients of the primary, one of them waiting", crowds, err)
	}
	if got := s.list()[1]; got.State != "waiting" || !strings.Contains(got.Reason, "no primary") {
		t.Errorf("parked client: %+v, want the reason", got)
	}
}

// TestKill ends clients in whatever phase they are, those of one database or one
// alone.
func TestKill(t *testing.T) {
	s := newSite(t, plan{})
	holder, waiter, idle, other := login(t, s.primary), login(t, s.primary), login(t, s.primary), login(t, s.primary, "database", "postgres")
	holder.exec("BEGIN")
	s.waits(waiter, "SELECT 1", 0)
	if s.proxy.KillClient(1 << 40) {
		t.Error("a client was found by a number that none can have")
	}
	if !s.proxy.KillClient(uint64(waiter.pid)) {
		t.Error("the client was not found")
	}
	if got := waiter.fatal(); got != "57P01" {
		t.Errorf("client that waited: %s, want 57P01", got)
	}
	s.proxy.Kill(lab.AppDatabase)
	for name, c := range map[string]*client{"in a transaction": holder, "idle": idle} {
		if got := c.fatal(); got != "57P01" {
			t.Errorf("client %s: %s, want 57P01", name, got)
		}
	}
	other.exec("SELECT 1")
	s.proxy.Kill("")
	if got := other.fatal(); got != "57P01" {
		t.Errorf("client of another database: %s, want 57P01", got)
	}
}

// TestStopAccepting: who is here goes on, who comes later does not get in.
func TestStopAccepting(t *testing.T) {
	s := newSite(t, plan{})
	c, late := login(t, s.primary), dialTo(t, s.primary)
	eventually(t, "the connection is accepted", func() bool { return s.proxy.Clients() == 2 })
	s.proxy.StopAccepting()
	late.send(pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase))
	if err := late.welcomed(); code(err) != "57P03" {
		t.Errorf("late client: %v, want 57P03", err)
	}
	c.exec("SELECT 1")
}

// TestPausedDatabaseIsNotAsked: a login for which a server would have to be logged
// in waits for RESUME.
func TestPausedDatabaseIsNotAsked(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	s.pools.Pause(lab.AppDatabase)
	done := make(chan *client)
	go func() { done <- login(t, s.primary) }()
	eventually(t, "the client is known", func() bool {
		s.proxy.count.mu.Lock()
		defer s.proxy.count.mu.Unlock()
		return s.proxy.count.users[lab.TrustUser] == 1
	})
	if n := pg.backends(t); n != "0" {
		t.Errorf("%s servers of a paused database, want none", n)
	}
	s.pools.Resume(lab.AppDatabase)
	(<-done).exec("SELECT 1")
	s.pools.Pause("other")
	impatient := *s.proxy.settings.Load()
	impatient.FailoverWaitTimeout = time.Millisecond
	s.proxy.Apply(impatient)
	if _, err := tryLogin(t, s.primary, "database", "other"); code(err) != "57P03" || !strings.Contains(err.Error(), "is paused") {
		t.Errorf("login to a paused database: %v, want 57P03 saying so", err)
	}
}
