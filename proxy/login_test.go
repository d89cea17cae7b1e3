package proxy

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
)

// connect logs in with pgx and asks who it is.
func connect(addr, user, password, database string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	host, port, _ := strings.Cut(addr, ":")
	conn, err := pgconn.Connect(ctx, "host="+host+" port="+port+" user="+user+" password="+password+
		" dbname="+database+" sslmode="+sslmode())
	if err != nil {
		return "", err
	}
	defer conn.Close(ctx)
	results, err := conn.Exec(ctx, "SELECT current_user || ' ' || current_database()").ReadAll()
	if err != nil {
		return "", err
	}
	return string(results[0].Rows[0][0]), nil
}

// TestLoginMethods: each method of auth_type, with each form of secret that can
// serve it, opens the session and its server.
func TestLoginMethods(t *testing.T) {
	pg := postgres(t, 0)
	verifier := func(role string) string {
		return pg.ask(t, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+role+"'")
	}
	for _, test := range []struct {
		name   string
		method auth.Method
		user   string
		secret string
	}{
		{"scram with a verifier only", auth.SCRAM, lab.AppUser, verifier(lab.AppUser)},
		{"scram with a plain password", auth.SCRAM, lab.AppUser, lab.AppPassword},
		{"md5 with a hash only", auth.MD5, lab.MD5User, verifier(lab.MD5User)},
		{"md5 asks for scram where a verifier is stored", auth.MD5, lab.AppUser, verifier(lab.AppUser)},
		{"md5 with a plain password", auth.MD5, lab.MD5User, lab.AppPassword},
		{"password with a verifier", auth.Password, lab.AppUser, verifier(lab.AppUser)},
		{"password with a plain password", auth.Password, lab.PlainUser, lab.AppPassword},
		{"trust", auth.Trust, lab.TrustUser, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, plan{
				users: `"` + test.user + `" "` + test.secret + `"`,
				proxy: func(set *Settings) { set.AuthMethod = test.method },
			})
			got, err := connect(s.primary, test.user, lab.AppPassword, lab.AppDatabase)
			if err != nil || got != test.user+" app" {
				t.Errorf("login = %q, %v", got, err)
			}
			if test.method == auth.Trust {
				return
			}
			var refused *pgconn.PgError
			_, err = connect(s.primary, test.user, "wrong", lab.AppDatabase)
			if !errors.As(err, &refused) || refused.Code != "28P01" || refused.Severity != "FATAL" ||
				refused.Message != `password authentication failed for user "`+test.user+`"` {
				t.Errorf("wrong password: %v", err)
			}
		})
	}
}

// TestUnknownUserTakesTheSameSteps: nobody can tell from outside which users
// exist.
func TestUnknownUserTakesTheSameSteps(t *testing.T) {
	s := newSite(t, plan{users: passThrough(t), proxy: func(set *Settings) { set.AuthMethod = auth.SCRAM }})
	steps := func(user string) (types []string, text string) {
		c := reach(t, s.primary)
		c.send(pgscript.Startup("user", user, "database", "app"))
		types = append(types, typeOf(c.receive()))
		first := "n,,n=,r=abcdefghijklmnop"
		body := append(pgscript.Strings("SCRAM-SHA-256"), 0, 0, 0, byte(len(first)))
		c.send(pgscript.Message('p', append(body, first...)))
		m := c.receive()
		types = append(types, typeOf(m))
		nonce, _, _ := strings.Cut(string(m.(*pgproto3.AuthenticationSASLContinue).Data), ",")
		proof := "c=biws," + nonce + ",p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
		c.send(pgscript.Message('p', []byte(proof)))
		e := c.receive().(*pgproto3.ErrorResponse)
		return append(types, typeOf(e)), e.Code + " " + strings.ReplaceAll(e.Message, user, "USER")
	}
	knownTypes, knownText := steps(lab.AppUser)
	types, text := steps("nobody_knows_me")
	if !slices.Equal(types, knownTypes) || text != knownText {
		t.Errorf("unknown user: %v %q; known one: %v %q", types, text, knownTypes, knownText)
	}
}

// TestServersRefusalVerbatim: what PostgreSQL says to a login, its client gets.
func TestServersRefusalVerbatim(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	for _, params := range [][]string{
		{"database", "nowhere"},
		{"DateStyle", "Klingon"},
		{"TimeZone", "Mars/Olympus"},
		{"no_such_thing", "1"},
		{"work_mem", "many"},
		{"options", "-c work_mem=many"},
		{"options", "stray"},
		{"options", "-Z"},
		{"shared_buffers", "1GB"},
		{"log_connections", "maybe"},
		{"client_encoding", "klingon"},
	} {
		t.Run(strings.Join(params, "="), func(t *testing.T) {
			_, want := tryLogin(t, pg.Addr, params...)
			_, got := tryLogin(t, s.primary, params...)
			if want == nil || got == nil {
				t.Fatalf("got %v, want %v, and both an error", got, want)
			}
			if g, w := got.(*serverError).ErrorResponse, want.(*serverError).ErrorResponse; !equalErrors(g, w) {
				t.Errorf("got  %+v\nwant %+v", g, w)
			}
		})
	}
	// None of it has cost a server: the pool of one still serves.
	if got := login(t, s.primary).value("SELECT 1"); got != "1" {
		t.Errorf("after the refusals: %q", got)
	}
	eventually(t, "refused logins leave no backend", func() bool { return pg.backends(t) == "1" })
}

func equalErrors(a, b pgproto3.ErrorResponse) bool {
	// pgvip's own words for what it finds before it asks have no source line.
	if a.File == "" {
		b.File, b.Line, b.Routine = "", 0, ""
	}
	x, _ := a.Encode(nil)
	y, _ := b.Encode(nil)
	return string(x) == string(y)
}

// TestEncryptionRequests: without TLS both are answered with N, in either order
// and once each; bytes behind one end the connection (CVE-2021-3935).
func TestEncryptionRequests(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.TLS = nil }})
	ssl := pgscript.SSLRequest()
	gss := slices.Clone(ssl)
	gss[7] = pgscript.CodeGSSEnc & 0xff
	startup := pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase)
	for _, test := range []struct {
		name  string
		send  [][]byte // each after the N for the one before
		state string   // of the FATAL; empty for a login
	}{
		{"ssl", [][]byte{ssl, startup}, ""},
		{"gss", [][]byte{gss, startup}, ""},
		{"ssl then gss", [][]byte{ssl, gss, startup}, ""},
		{"gss then ssl", [][]byte{gss, ssl, startup}, ""},
		{"ssl twice", [][]byte{ssl, ssl}, "0A000"},
		{"gss twice", [][]byte{gss, ssl, gss}, "0A000"},
		{"startup behind ssl", [][]byte{slices.Concat(ssl, startup)}, "08P01"},
		{"one byte behind gss", [][]byte{append(slices.Clone(gss), 'x')}, "08P01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialTo(t, s.primary)
			for _, b := range test.send[:len(test.send)-1] {
				c.send(b)
				var n [1]byte
				if _, err := c.conn.Read(n[:]); err != nil || n[0] != 'N' {
					t.Fatalf("answer %q, %v; want N", n, err)
				}
			}
			c.send(test.send[len(test.send)-1])
			if got := code(c.welcomed()); got != test.state {
				t.Errorf("SQLSTATE %q, want %q", got, test.state)
			}
		})
	}
}

// TestHostileStartup: nothing of it hangs, and nothing is kept for a length that
// was only announced.
func TestHostileStartup(t *testing.T) {
	s := newSite(t, plan{})
	valid := pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase)
	for _, test := range []struct {
		name  string
		bytes []byte
		state string
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), "08P01"},
		{"length 0", make([]byte, 8), "08P01"},
		{"length 7", []byte{0, 0, 0, 7, 0, 3, 0}, "08P01"},
		{"length 2^31-1", []byte{0x7f, 0xff, 0xff, 0xff, 0, 3, 0, 0}, "08P01"},
		{"length 2^32-1", []byte{0xff, 0xff, 0xff, 0xff, 0, 3, 0, 0}, "08P01"},
		{"over PostgreSQL's limit", append([]byte{0, 0, 0x27, 0x15, 0, 3, 0, 0}, make([]byte, 10001)...), "08P01"},
		{"no terminator", []byte("\x00\x00\x00\x0e\x00\x03\x00\x00user\x00a"), "08P01"},
		{"no user", pgscript.Startup("database", "app"), "28000"},
		{"no parameters", pgscript.Startup(), "28000"},
		{"replication of nonsense", pgscript.Startup("user", lab.TrustUser, "replication", ""), "22023"},
		{"password message early", append(slices.Clone(valid), pgscript.Message('p', []byte("x\x00"))...), "08P01"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := reach(t, s.primary)
			c.send(test.bytes)
			err := c.welcomed()
			if test.name == "password message early" && err == nil {
				err = refusal(c.answer().err) // trusted: it is the session that gets it
			}
			if code(err) != test.state {
				t.Errorf("got %v, want %s", err, test.state)
			}
			c.gone()
		})
	}
}

// TestStartupBytewise: a login may come in any pieces, and what follows it in
// the same segment belongs to the session.
func TestStartupBytewise(t *testing.T) {
	s := newSite(t, plan{})
	c := reach(t, s.primary)
	for _, b := range pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase) {
		c.send([]byte{b})
	}
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	eager := reach(t, s.primary)
	eager.send(pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase), pgscript.Query("SELECT 7"))
	if err := eager.welcomed(); err != nil {
		t.Fatal(err)
	}
	if r := eager.answer(); len(r.rows) != 1 || r.rows[0] != "7" {
		t.Errorf("query in the segment of the startup packet: %+v", r)
	}
}

// TestLoginFailuresThatAreNone: port checks leave no trace in log and counters.
func TestLoginFailuresThatAreNone(t *testing.T) {
	s := newSite(t, plan{})
	for _, knock := range []func(net.Conn){
		func(c net.Conn) { c.Close() },
		func(c net.Conn) {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		},
		func(c net.Conn) {
			c.Write(pgscript.SSLRequest())
			c.Read(make([]byte, 1))
			c.Close()
		},
	} {
		conn, err := net.Dial("tcp", s.primary)
		if err != nil {
			t.Fatal(err)
		}
		knock(conn)
	}
	eventually(t, "checks have been served", func() bool { return s.proxy.Clients() == 0 })
	login(t, s.primary).leave() // behind them in the accept queue
	eventually(t, "the session has ended", func() bool { return s.logs.Len() > 1 })
	for _, entry := range s.logs.All() {
		if entry.Message != "session ended" && entry.Message != "login" {
			t.Errorf("log: %s %v", entry.Message, entry.ContextMap())
		}
	}
	if n := s.proxy.counters.LoginsFailed.Load(); n != 0 {
		t.Errorf("failed logins = %d, want 0", n)
	}
}

// TestLoginTimeout: client_login_timeout ends who dawdles, with a word to those
// who have said something.
func TestLoginTimeout(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.ClientLoginTimeout = 50 * time.Millisecond }})
	silent := dialTo(t, s.primary)
	slow := dialTo(t, s.primary)
	slow.send([]byte{0, 0})
	if got := slow.fatal(); got != "57P03" {
		t.Errorf("SQLSTATE %s, want 57P03", got)
	}
	silent.gone()
}

// TestMaxClientConn counts those who are logged in, and cancel requests do not
// need a place.
func TestMaxClientConn(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.MaxClientConn = 2 }})
	first := login(t, s.primary)
	login(t, s.primary)
	_, err := tryLogin(t, s.primary)
	if code(err) != "53300" || !strings.Contains(err.Error(), "max_client_conn") {
		t.Errorf("third client: %v, want 53300 naming max_client_conn", err)
	}
	first.send(pgscript.Query("SELECT pg_sleep(60)"))
	postgres(t, 0).sleeping(t, 1)
	first.cancel(s.primary)
	if r := first.answer(); r.state() != "57014" {
		t.Errorf("cancelled at the limit: %+v", r)
	}
	first.leave()
	eventually(t, "the place is free", func() bool { return s.proxy.Clients() == 1 })
	login(t, s.primary)
}

// TestApplicationNameAddHost: the server sees where the client comes from, and
// the client is told the name that it really has.
func TestApplicationNameAddHost(t *testing.T) {
	s := newSite(t, plan{proxy: func(set *Settings) { set.ApplicationNameAddHost = true }})
	c := login(t, s.primary, "application_name", "shop")
	want := "shop - " + c.conn.LocalAddr().String()
	if got := c.value("SHOW application_name"); got != want {
		t.Errorf("application_name = %q, want %q", got, want)
	}
	if !slices.Contains(c.welcome, "application_name="+want) {
		t.Errorf("welcome = %q, want %q in it", c.welcome, want)
	}
}

func typeOf(m pgproto3.BackendMessage) string {
	b, err := m.Encode(nil)
	if err != nil {
		panic(err)
	}
	return string(b[0])
}
