package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
)

// startLogin sends a startup packet and expects no answer yet but that the user
// is let in.
func startLogin(t *testing.T, addr string) *client {
	t.Helper()
	c := dialTo(t, addr)
	c.send(pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase))
	if got := typeOf(c.receive()); got != "R" {
		t.Fatalf("first message %q, want AuthenticationOk", got)
	}
	return c
}

// TestLoginWaitsForPrimary: without one, and without a welcome from before, a
// login waits, holding no slot that others need.
func TestLoginWaitsForPrimary(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{table: table(nil), proxy: func(set *Settings) { set.FailoverWaitTimeout = 0 }})
	waiting := startLogin(t, s.primary)
	// Each of the two listeners keeps one for the client it accepts next.
	eventually(t, "the slot is free", func() bool { return len(s.proxy.unknown.tokens) == 2 })
	s.proxy.SetTable(table(node("n1", pg.Addr)))
	if err := waiting.welcomed(); err != nil {
		t.Fatal(err)
	}
	// The welcome stays valid while there is no primary (rule 4).
	s.proxy.SetTable(table(nil))
	login(t, s.primary)
}

// TestLoginGivesUp: failover_wait_timeout ends the wait with the reason.
func TestLoginGivesUp(t *testing.T) {
	short := func(set *Settings) { set.FailoverWaitTimeout = 30 * time.Millisecond }
	reset := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Reset())
	full := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Send(pgscript.Error("FATAL", "53300", "sorry")))
	recovering := pgscript.Serve(t, pgscript.ExpectStartup(), pgscript.Send(
		pgscript.AuthOK(), pgscript.Statuses("on"), pgscript.BackendKey(1, 2), pgscript.Ready('I')), pgscript.ExpectGone())
	none := table(nil)
	none.Reason = "the leader key is missing"
	for _, test := range []struct {
		name  string
		table *route.Table
		role  route.Role
		text  string
	}{
		{"no primary", none, route.Primary, "there is no primary: the leader key is missing"},
		{"no replica", none, route.Replica, "no replica is available"},
		{"primary resets", table(node("n1", reset.Addr)), route.Primary, "the primary does not let pgvip log in"},
		{"primary is full", table(node("n1", full.Addr)), route.Primary, "the primary does not let pgvip log in"},
		{"primary is in recovery", table(node("n1", recovering.Addr)), route.Primary, "the primary does not let pgvip log in"},
		{"replica resets", table(nil, node("n1", reset.Addr)), route.Replica, "no replica lets pgvip log in"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, plan{table: test.table, proxy: short})
			addr := s.primary
			if test.role == route.Replica {
				addr = s.replica
			}
			_, err := tryLogin(t, addr)
			if code(err) != "57P03" || !strings.Contains(err.Error(), test.text) || !strings.Contains(err.Error(), "failover_wait_timeout") {
				t.Errorf("got %v, want 57P03 with %q and the setting", err, test.text)
			}
		})
	}
}

// TestMissingSecret: what only the operator can mend does not make clients wait.
func TestMissingSecret(t *testing.T) {
	s := newSite(t, plan{users: `"` + lab.AppUser + `" ""`})
	_, err := tryLogin(t, s.primary, "user", lab.AppUser)
	if code(err) != "28000" || !strings.Contains(err.Error(), "SCRAM") {
		t.Errorf("got %v, want 28000 naming the method", err)
	}
}
