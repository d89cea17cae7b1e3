package proxy

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
)

const whereami = "SELECT inet_server_addr()"

func sharing(set *pool.Settings) { set.Mode, set.PoolSize = pool.TransactionMode, 4 }

// TestReadsGoToThePrimaryAndBack: without a replica, with no_replicas primary, in
// the primary's own pool; and back between transactions as soon as there is one.
func TestReadsGoToThePrimaryAndBack(t *testing.T) {
	a, b := postgres(t, 0), postgres(t, 1)
	n1, n2 := node("n1", a.Addr), node("n2", b.Addr)
	n1.Leads = true
	alone := table(n1)
	alone.Reads = route.ReadsOnPrimary
	both := table(n1, n2)
	s := newSite(t, plan{table: both, pool: func(set *pool.Settings) { set.Mode, set.PoolSize = pool.TransactionMode, 1 }})
	c := login(t, s.replica)
	if got := c.value(whereami); got != b.Host {
		t.Fatalf("a reader went to %s, want %s", got, b.Host)
	}
	s.proxy.SetTable(alone)
	if got := c.value(whereami); got != a.Host {
		t.Errorf("without a replica it went to %s, want %s", got, a.Host)
	}
	if got := login(t, s.replica).value(whereami); got != a.Host {
		t.Errorf("a new one went to %s, want %s", got, a.Host)
	}
	if got := login(t, s.primary).value(whereami); got != a.Host {
		t.Errorf("a writer went to %s, want %s", got, a.Host)
	}
	pools, err := s.pools.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	servers := 0
	for _, p := range pools {
		if p.Node == "n1" {
			servers += p.Idle + p.Lent
			if p.Role != route.Primary.String() {
				t.Errorf("pool of the primary has role %s", p.Role)
			}
		}
	}
	if servers != 1 {
		t.Errorf("%d servers of the primary, want one for both ports", servers)
	}
	s.proxy.SetTable(both)
	if got := c.value(whereami); got != b.Host {
		t.Errorf("with a replica again it went to %s, want %s", got, b.Host)
	}
}

// TestReadsAreRejected at once, with no_replicas reject: at login, between
// transactions, and while parked.
func TestReadsAreRejected(t *testing.T) {
	a, b := postgres(t, 0), postgres(t, 1)
	n1, n2 := node("n1", a.Addr), node("n2", b.Addr)
	none := table(n1)
	none.Reads = route.ReadsRejected
	wait := table(n1)
	wait.Reads = route.ReadsWait
	s := newSite(t, plan{table: table(n1, n2), pool: sharing})
	check := func(what string, e *pgproto3.ErrorResponse) {
		t.Helper()
		if e == nil || e.Code != "57P03" || !strings.Contains(e.Message, "no replica is available") || !strings.Contains(e.Hint, "no_replicas") {
			t.Errorf("%s: got %+v, want 57P03 with reason and setting", what, e)
		}
	}
	between, parked := login(t, s.replica), login(t, s.replica)
	between.value(whereami)
	parked.value(whereami)
	s.proxy.SetTable(wait)
	parked.send(pgscript.Query(whereami))
	eventually(t, "parked", func() bool { return s.proxy.counters.Parked.Load() == 1 })
	s.proxy.SetTable(none)
	check("parked", parked.answer().err)
	check("between transactions", between.query(whereami).err)
	_, err := tryLogin(t, s.replica, "database", "postgres") // of which nothing is known
	if code(err) != "57P03" {
		t.Errorf("login: %v, want 57P03", err)
	}
	if got := login(t, s.primary).value(whereami); got != a.Host {
		t.Errorf("a writer went to %s", got)
	}
	s.proxy.SetTable(table(n1, n2))
	if got := login(t, s.replica).value(whereami); got != b.Host {
		t.Errorf("with a replica again a reader went to %s", got)
	}
}

// TestLeastConn: a new reader goes where the fewest are; who has ended does not
// count.
func TestLeastConn(t *testing.T) {
	a, b := postgres(t, 0), postgres(t, 1)
	n1, n2 := node("n1", a.Addr), node("n2", b.Addr)
	tab := table(nil, n1, n2)
	tab.Balance = route.LeastConn
	s := newSite(t, plan{table: tab, pool: sharing})
	var on [2][]*client
	for range 6 {
		c := login(t, s.replica)
		if c.value(whereami) == a.Host {
			on[0] = append(on[0], c)
		} else {
			on[1] = append(on[1], c)
		}
	}
	if len(on[0]) != 3 || s.proxy.Readers(n1) != 3 || s.proxy.Readers(n2) != 3 {
		t.Errorf("%d of 6 on the first, counted %d and %d", len(on[0]), s.proxy.Readers(n1), s.proxy.Readers(n2))
	}
	for _, c := range on[0] {
		c.leave()
	}
	eventually(t, "they are not counted any more", func() bool { return s.proxy.Readers(n1) == 0 })
	for i := range 3 {
		if got := login(t, s.replica).value(whereami); got != a.Host {
			t.Errorf("login %d went to %s, where three are already", i, got)
		}
	}
}

// TestReadBalanceTransaction: each transaction takes the next turn.
func TestReadBalanceTransaction(t *testing.T) {
	a, b := postgres(t, 0), postgres(t, 1)
	s := newSite(t, plan{table: table(nil, node("n1", a.Addr), node("n2", b.Addr)), pool: sharing,
		proxy: func(set *Settings) { set.ReadBalanceTransaction = true }})
	c := login(t, s.replica)
	count := map[string]int{}
	last := c.value(whereami)
	for range 10 {
		c.exec("BEGIN")
		now := c.value(whereami)
		if again := c.value(whereami); again != now {
			t.Errorf("moved from %s to %s inside a transaction", now, again)
		}
		c.exec("COMMIT")
		if now == last {
			t.Errorf("two transactions in a row on %s", now)
		}
		last = now
		count[now]++
	}
	if count[a.Host] != 5 || count[b.Host] != 5 {
		t.Errorf("transactions went to %v, want five each", count)
	}
}
