package proxy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// functionQuery asks through the lab's function, as a role without rights.
func functionQuery() AuthQuery {
	return AuthQuery{User: lab.AuthUser, Credential: auth.Credential{Password: lab.AuthPassword},
		SQL: "SELECT * FROM public.user_lookup($1)", Database: lab.AppDatabase}
}

// defaultQuery is PgBouncer's default, which only a superuser may ask.
func defaultQuery() AuthQuery {
	return AuthQuery{User: lab.Superuser, SQL: "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END" +
		" FROM pg_authid WHERE rolname=$1 AND rolcanlogin", Database: lab.AppDatabase}
}

// asking is a plan whose user list is empty.
func asking(m auth.Method, q AuthQuery) plan {
	return plan{users: "; nobody", proxy: func(set *Settings) {
		set.AuthMethod = m
		set.AuthQuery = func(string) AuthQuery { return q }
	}}
}

func passwordOf(s *site, user, password string) string {
	return tcp(s.primary, "sslmode="+sslmode()+" user="+user+" password="+password)
}

// TestAuthQuery: whatever kind of secret PostgreSQL holds, it lets the right
// client in, and what the client shows opens the server.
func TestAuthQuery(t *testing.T) {
	for _, test := range []struct {
		name   string
		method auth.Method
		user   string
		query  AuthQuery
	}{
		{"verifier, scram", auth.SCRAM, lab.AppUser, functionQuery()},
		{"verifier, md5 asks for scram", auth.MD5, lab.AppUser, functionQuery()},
		{"verifier, password", auth.Password, lab.PlainUser, functionQuery()},
		{"md5 hash, md5", auth.MD5, lab.MD5User, functionQuery()},
		{"md5 hash, password", auth.Password, lab.MD5User, functionQuery()},
		{"no password, trust", auth.Trust, lab.TrustUser, functionQuery()},
		{"the default query", auth.SCRAM, lab.AppUser, defaultQuery()},
		{"a plain password", auth.SCRAM, lab.AppUser, AuthQuery{User: lab.TrustUser, Database: lab.AppDatabase,
			SQL: "SELECT $1::text, '" + lab.AppPassword + "'"}},
		{"auth_user looks up itself", auth.SCRAM, lab.AuthUser, functionQuery()},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, asking(test.method, test.query))
			password := lab.AppPassword
			if test.user == lab.AuthUser {
				password = lab.AuthPassword
			}
			if got := whoami(t, passwordOf(s, test.user, password)); got != test.user {
				t.Errorf("got %s, want %s", got, test.user)
			}
			if test.method == auth.Trust {
				return
			}
			if got, want := whoami(t, passwordOf(s, test.user, "wrong")), "28P01 password authentication failed for user "; !strings.HasPrefix(got, want) {
				t.Errorf("wrong password: %s", got)
			}
		})
	}
}

// TestAuthQueryRefusals: who may not come in is told no more than others are, and
// the log says why.
func TestAuthQueryRefusals(t *testing.T) {
	pg := postgres(t, 0)
	pg.ask(t, "CREATE ROLE expired LOGIN PASSWORD '"+lab.AppPassword+"' VALID UNTIL '2000-01-01'")
	pg.ask(t, "CREATE ROLE nologin NOLOGIN PASSWORD '"+lab.AppPassword+"'")
	t.Cleanup(func() { pg.ask(t, "DROP ROLE expired; DROP ROLE nologin") })
	query := func(change func(*AuthQuery)) AuthQuery {
		q := defaultQuery()
		change(&q)
		return q
	}
	failed := func(user string) string { return `28P01 password authentication failed for user "` + user + `"` }
	const lookup = "28000 pgvip could not look up the user"
	for _, test := range []struct {
		name   string
		query  AuthQuery
		user   string
		want   string
		reason string
	}{
		{"expired (CVE-2025-2291)", defaultQuery(), "expired", failed("expired"), "no password is stored for the user"},
		{"may not log in", defaultQuery(), "nologin", failed("nologin"), "no such user"},
		{"unknown", defaultQuery(), "nobody", failed("nobody"), "no such user"},
		{"longer than any role", defaultQuery(), strings.Repeat("n", 64), failed(strings.Repeat("n", 64)), "no such user"},
		{"SQL in the name", defaultQuery(), "x' OR '1'='1", failed("x' OR '1'='1"), "no such user"},
		{"nobody to ask as", AuthQuery{}, "app", failed("app"), "no such user"},
		{"no right", query(func(q *AuthQuery) { q.User = lab.TrustUser }), "app", lookup, "permission denied for table pg_authid"},
		{"wrong password of auth_user", query(func(q *AuthQuery) { q.User, q.Credential.Password = lab.AuthUser, "x" }), "app", lookup,
			`password authentication failed for user "pgvip_auth"`},
		{"no password of auth_user", query(func(q *AuthQuery) { q.User = lab.AuthUser }), "app", lookup, "held here is no secret"},
		{"another user's secret", query(func(q *AuthQuery) { q.SQL = "SELECT upper($1), 'x'" }), "app", lookup, "another user"},
		{"one column", query(func(q *AuthQuery) { q.SQL = "SELECT $1::text" }), "app", lookup, "1 columns"},
		{"many rows", query(func(q *AuthQuery) { q.SQL = "SELECT $1::text, 'x' UNION ALL SELECT $1, 'y'" }), "app", lookup, "2 rows"},
		{"damaged verifier", query(func(q *AuthQuery) { q.SQL = "SELECT $1::text, 'SCRAM-SHA-256$1'" }), "app", lookup, "SCRAM verifier"},
		{"no query", query(func(q *AuthQuery) { q.SQL = "SELEC $1" }), "app", lookup, "syntax error"},
		{"no such database", query(func(q *AuthQuery) { q.Database = "nowhere" }), "app", `3D000 database "nowhere" does not exist`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, asking(auth.SCRAM, test.query))
			quoted := "'" + strings.ReplaceAll(test.user, "'", `\'`) + "'"
			if got := whoami(t, tcp(s.primary, "sslmode="+sslmode()+" user="+quoted+" password="+lab.AppPassword)); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			refused := s.logs.FilterMessage("login refused").All()
			if len(refused) != 1 {
				t.Fatalf("%d refusals in the log", len(refused))
			}
			reason, _ := refused[0].ContextMap()["reason"].(string)
			if !strings.Contains(reason, test.reason) {
				t.Errorf("reason %q, want it to hold %q", reason, test.reason)
			}
		})
	}
}

// TestAuthQueryIsNeutral: what a client puts in its startup packet does not reach
// the query about it (CVE-2025-12819).
func TestAuthQueryIsNeutral(t *testing.T) {
	pg := postgres(t, 0)
	evil := auth.HashMD5("stolen", lab.MD5User)
	pg.ask(t, "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC; CREATE FUNCTION evil.user_lookup(name text, OUT a text, OUT b text)"+
		" LANGUAGE sql AS $$ SELECT name, '"+evil+"' $$")
	t.Cleanup(func() { pg.ask(t, "DROP SCHEMA evil CASCADE") })
	q := functionQuery()
	q.SQL = "SELECT * FROM user_lookup($1)"
	s := newSite(t, asking(auth.MD5, q))
	for _, more := range []string{" search_path=evil", " options='-c search_path=evil'"} {
		if got := whoami(t, passwordOf(s, lab.MD5User, "stolen")+more); !strings.HasPrefix(got, "28P01") {
			t.Errorf("%s: %s, want a refusal", more, got)
		}
	}
	if got := whoami(t, passwordOf(s, lab.MD5User, lab.AppPassword)+" search_path=evil"); got != lab.MD5User {
		t.Errorf("the right password: %s", got)
	}
}

// TestLastAnswerServes: with no node to ask, who has been looked up before can
// log in, by the last answer; others wait as for everything.
func TestLastAnswerServes(t *testing.T) {
	p := asking(auth.SCRAM, functionQuery())
	settings := p.proxy
	p.proxy = func(set *Settings) { settings(set); set.FailoverWaitTimeout = 50 * time.Millisecond }
	s := newSite(t, p)
	if got := whoami(t, passwordOf(s, lab.AppUser, lab.AppPassword)); got != lab.AppUser {
		t.Fatal(got)
	}
	n := s.proxy.table.Load().Nodes[0]
	key := lookupKey{lab.AuthUser, functionQuery().SQL, lab.AppDatabase, lab.AppUser}
	for _, tt := range []struct {
		name  string
		table *route.Table
	}{
		{"no node", &route.Table{Nodes: []*route.Node{n}}},
		{"no connection", table(node("gone", "127.0.0.1:1"))},
	} {
		s.proxy.SetTable(tt.table)
		s.proxy.lookups.doubt(&AuthQuery{User: key.authUser, SQL: key.sql, Database: key.database}, key.user)
		// Authentication goes well; there is just no server for the query.
		for password, want := range map[string]string{lab.AppPassword: "57P03 there is no primary", "wrong": "28P01 password"} {
			got := whoami(t, passwordOf(s, lab.AppUser, password))
			if tt.name == "no connection" && password == lab.AppPassword {
				want = "57P03"
			}
			if !strings.HasPrefix(got, want) {
				t.Errorf("%s, password %q: %s, want %s", tt.name, password, got, want)
			}
		}
		if got := whoami(t, passwordOf(s, lab.MD5User, lab.AppPassword)); got != "57P03 no server could be asked about the user" {
			t.Errorf("%s, not looked up before: %s", tt.name, got)
		}
	}
	s.proxy.SetTable(&route.Table{Primary: n, Nodes: []*route.Node{n}})
	if got := whoami(t, passwordOf(s, lab.AppUser, lab.AppPassword)); got != lab.AppUser {
		t.Errorf("afterwards: %s", got)
	}
	for message, want := range map[string]int{"users cannot be looked up": 2, "users can be looked up again": 1} {
		if got := s.logs.FilterMessage(message).Len(); got != want {
			t.Errorf("%d times %q in the log, want %d", got, message, want)
		}
	}
}

// TestWaitingForALookupEndsWithEviction: a client that waits for a node to ask
// can be made to go, as one that says nothing.
func TestWaitingForALookupEndsWithEviction(t *testing.T) {
	p := asking(auth.SCRAM, functionQuery())
	p.table = table(nil)
	settings := p.proxy
	p.proxy = func(set *Settings) {
		settings(set)
		set.FailoverWaitTimeout, set.ClientLoginTimeout = time.Hour, time.Hour
	}
	s := newSite(t, p)
	c := dialTo(t, s.primary)
	c.send(pgscript.Startup("user", "app", "database", "app"))
	eventually(t, "the question is asked", func() bool { return s.proxy.Counters().AuthQueries.Load() > 0 })
	s.proxy.unknown.evict(time.Now().Add(2 * patientFor))
	c.gone()
	eventually(t, "the login has ended", func() bool { return s.proxy.Clients() == 0 })
}

// TestAnyNodeIsAsked: the primary first, and without one a replica.
func TestAnyNodeIsAsked(t *testing.T) {
	pg := postgres(t, 0)
	dead, alive := node("dead", "127.0.0.1:1"), node("alive", pg.Addr)
	p := asking(auth.SCRAM, functionQuery())
	p.table = table(dead, alive)
	s := newSite(t, p)
	q := functionQuery()
	for _, tt := range []struct {
		name  string
		table *route.Table
	}{
		{"the primary is down", table(dead, alive)},
		{"only replicas", table(nil, dead, alive)},
		{"candidate", &route.Table{Candidate: alive, Nodes: []*route.Node{alive}}},
	} {
		s.proxy.SetTable(tt.table)
		if _, found, err := s.proxy.lookups.ask(&q, lab.AppUser); !found || err != nil {
			t.Errorf("%s: %v, %v", tt.name, found, err)
		}
	}
	s.proxy.SetTable(table(nil))
}

// TestNewPasswordCounts: who has a new password is let in by it, and by the old
// one no more.
func TestNewPasswordCounts(t *testing.T) {
	pg := postgres(t, 0)
	pg.ask(t, "CREATE ROLE changing LOGIN PASSWORD 'one'")
	t.Cleanup(func() { pg.ask(t, "DROP ROLE changing") })
	s := newSite(t, asking(auth.SCRAM, functionQuery()))
	if got := whoami(t, passwordOf(s, "changing", "one")); got != "changing" {
		t.Fatal(got)
	}
	pg.ask(t, "ALTER ROLE changing PASSWORD 'two'")
	// The first may meet the old answer, but its failure makes it doubtful.
	whoami(t, passwordOf(s, "changing", "two"))
	if got := whoami(t, passwordOf(s, "changing", "two")); got != "changing" {
		t.Errorf("new password: %s", got)
	}
	if got := whoami(t, passwordOf(s, "changing", "one")); !strings.HasPrefix(got, "28P01") {
		t.Errorf("old password: %s", got)
	}
}

// TestAuthDatabase: the query runs where auth_dbname says.
func TestAuthDatabase(t *testing.T) {
	q := defaultQuery()
	q.Database = "postgres"
	q.SQL = "SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND current_database() = 'postgres'"
	s := newSite(t, asking(auth.SCRAM, q))
	if got := whoami(t, passwordOf(s, lab.AppUser, lab.AppPassword)); got != lab.AppUser {
		t.Errorf("got %s", got)
	}
}

func TestElsewhere(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{context.DeadlineExceeded, true},
		{&dial.Error{Err: dial.ErrProtocol}, true},
		{&wire.Error{Code: "57P03"}, true}, {&wire.Error{Code: "53300"}, true},
		{&wire.Error{Code: "57P01"}, true}, {&wire.Error{Code: "57P02"}, true}, {&wire.Error{Code: "57014"}, true},
		{&wire.Error{Code: "28P01"}, false}, {&wire.Error{Code: "42501"}, false}, {&wire.Error{Code: "3D000"}, false},
		{&dial.Error{Err: &auth.SecretError{}}, false},
	} {
		if got := elsewhere(tt.err); got != tt.want {
			t.Errorf("elsewhere(%v) = %v, want %v", tt.err, got, tt.want)
		}
	}
}

// TestAnswersAreBounded: names that do not exist push out neither each other
// without end nor what is known.
func TestAnswersAreBounded(t *testing.T) {
	l := newLookups(New(Options{Log: zap.NewNop(), Settings: Settings{}}))
	at := time.Unix(1000, 0)
	l.learn(lookupKey{user: "app"}, &flight{found: true}, at)
	for i := range maxUnknown + 10 {
		l.learn(lookupKey{user: fmt.Sprint(i)}, &flight{}, at)
	}
	if len(l.unknown) != maxUnknown {
		t.Errorf("%d names kept, want %d", len(l.unknown), maxUnknown)
	}
	if _, found, fresh := l.fresh(lookupKey{user: "app"}, at.Add(answerFresh-1)); !found || !fresh {
		t.Error("the user that exists was forgotten")
	}
	if _, _, fresh := l.fresh(lookupKey{user: "app"}, at.Add(answerFresh)); fresh {
		t.Error("an old answer counts as fresh")
	}
	for i := range maxAnswers + 10 {
		l.learn(lookupKey{user: fmt.Sprint("u", i)}, &flight{found: true}, at)
	}
	if len(l.known) != maxAnswers {
		t.Errorf("%d users kept, want %d", len(l.known), maxAnswers)
	}
	l.learn(lookupKey{user: "u1"}, &flight{err: errors.New("x")}, at)
	before := len(l.known)
	for key := range l.known {
		l.learn(key, &flight{}, at) // it was dropped
		break
	}
	if len(l.known) != before-1 {
		t.Error("a user that was dropped is still known")
	}
}

// TestReplicationIsLookedUp: physical replication has rules of its own and no
// database, so that its user is looked up in one that is always there.
func TestReplicationIsLookedUp(t *testing.T) {
	s := newSite(t, plan{users: "; nobody", proxy: func(set *Settings) {
		set.MaxReplicationConn = 10
		set.HBA = hbaOf(t, "host replication replicator all scram-sha-256\nhost all all all reject", "")
		set.AuthQuery = func(database string) AuthQuery {
			q := defaultQuery()
			q.Database = database
			return q
		}
	}})
	encryption := "no encryption"
	if inTLS() {
		encryption = "SSL encryption"
	}
	for replication, want := range map[string]string{
		"true":     "",
		"database": `28000 pg_hba.conf rejects connection for host "127.0.0.1", user "replicator", database "replication", ` + encryption,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		conninfo := strings.Replace(passwordOf(s, lab.ReplicationUser, lab.ReplicationPassword), "dbname=app", "dbname=replication replication="+replication, 1)
		got := ""
		conn, err := pgconn.Connect(ctx, conninfo)
		if err == nil {
			_, err = conn.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
			conn.Close(ctx)
		}
		if err != nil {
			got = said(err)
		}
		if got != want {
			t.Errorf("replication=%s: %q, want %q", replication, got, want)
		}
	}
}
