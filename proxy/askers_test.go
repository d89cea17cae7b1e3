package proxy

import (
	"context"
	"strconv"
	"testing"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
)

// blocked is a query that waits for a lock which the test holds until open.
func blocked(t *testing.T, pg *database) (q AuthQuery, open func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	holder, err := pg.superuser(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { holder.Close() })
	if _, err := holder.Query(ctx, "SELECT pg_advisory_lock(77)"); err != nil {
		t.Fatal(err)
	}
	q = functionQuery()
	q.SQL = "SELECT l.* FROM (SELECT pg_advisory_xact_lock_shared(77)) AS gate, public.user_lookup($1) AS l"
	return q, func() {
		if _, err := holder.Query(ctx, "SELECT pg_advisory_unlock_all()"); err != nil {
			t.Error(err)
		}
	}
}

// TestOneQuestionForAUser: however many want to know, one asks; and different
// questions share two connections.
func TestOneQuestionForAUser(t *testing.T) {
	pg := postgres(t, 0)
	q, open := blocked(t, pg)
	s := newSite(t, asking(auth.SCRAM, q))
	users := []string{lab.AppUser, lab.AppUser, lab.MD5User, lab.PlainUser, "nobody"}
	var flights []*flight
	for _, user := range users {
		flights = append(flights, s.proxy.lookups.start(lookupKey{q.User, q.SQL, q.Database, user}, &q))
	}
	if flights[0] != flights[1] {
		t.Error("the same question was asked twice at a time")
	}
	waiting := "SELECT count(*) FROM pg_stat_activity WHERE usename = '" + lab.AuthUser + "' AND wait_event = 'advisory'"
	eventually(t, "the connections are in use", func() bool { return pg.ask(t, waiting) == strconv.Itoa(askersPerNode) })
	if got := pg.backends(t); got != strconv.Itoa(askersPerNode) {
		t.Errorf("%s backends, want %d", got, askersPerNode)
	}
	open()
	for i, f := range flights {
		<-f.done
		if f.err != nil || f.found != (users[i] != "nobody") {
			t.Errorf("%s: found %v, %v", users[i], f.found, f.err)
		}
	}
	if got := s.proxy.Counters().AuthQueries.Load(); got != 4 {
		t.Errorf("%d questions, want 4", got)
	}
	if got := whoami(t, passwordOf(s, lab.AppUser, lab.AppPassword)); got != lab.AppUser {
		t.Errorf("login: %s", got)
	}
}

// TestAskersComeBack: connections that died since the last question cost no
// answer, one for another database takes the place of an idle one, and all of a
// node go when it does.
func TestAskersComeBack(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, asking(auth.SCRAM, functionQuery()))
	ask := func(q AuthQuery) {
		t.Helper()
		if _, found, err := s.proxy.lookups.ask(&q, lab.AppUser); err != nil || !found {
			t.Fatalf("found %v, %v", found, err)
		}
	}
	count := func(where string) string {
		return pg.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE usename = '"+lab.AuthUser+"'"+where)
	}
	ask(functionQuery())
	ask(functionQuery())
	if got := count(""); got != "1" {
		t.Errorf("%s connections after one question after the other, want 1", got)
	}
	pg.ask(t, "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = '"+lab.AuthUser+"'")
	ask(functionQuery())
	for _, name := range []string{"template1", lab.AppDatabase, "template1"} {
		q := functionQuery()
		q.Database = name
		ask(q)
	}
	other := functionQuery()
	other.User, other.Credential, other.SQL = lab.TrustUser, auth.Credential{}, "SELECT $1::text, 'x'"
	ask(other)
	eventually(t, "one made room", func() bool { return count("") == "1" && pg.backends(t) == "2" })
	s.proxy.SetTable(table(nil))
	eventually(t, "connections leave with their node", func() bool { return pg.backends(t) == "0" })
}
