package dial_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/wire"
)

// TestPostgreSQL runs everything that needs a real server on one of them.
func TestPostgreSQL(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{HBA: []string{"host all odd_pass 127.0.0.0/8 scram-sha-256"}})
	for name, test := range map[string]func(*testing.T, *lab.Postgres){
		"Login":            testLogin,
		"LoginRefused":     testLoginRefused,
		"MissingSecret":    testMissingSecret,
		"PassThrough":      testPassThrough,
		"OddPasswords":     testOddPasswords,
		"UnixSocket":       testUnixSocket,
		"Options":          testOptions,
		"Query":            testQuery,
		"QueryErrors":      testQueryErrors,
		"QueryInterrupt":   testQueryInterrupt,
		"Terminated":       testTerminated,
		"Cancel":           testCancel,
		"Detach":           testDetach,
		"DetachRefused":    testDetachRefused,
		"SocketOptions":    testSocketOptions,
		"NoDescriptorLeak": testNoDescriptorLeak,
	} {
		t.Run(name, func(t *testing.T) { test(t, pg) })
	}
}

func config(pg *lab.Postgres, user string, credential auth.Credential) *dial.Config {
	return &dial.Config{Network: "tcp", Address: pg.Addr, User: user, Database: lab.AppDatabase, Credential: credential}
}

func password(p string) auth.Credential { return auth.Credential{Password: p} }

// dialed logs in and closes at the end of the test.
func dialed(t *testing.T, cfg *dial.Config) *dial.Conn {
	t.Helper()
	conn, err := dial.Login(within(t, 10*time.Second), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

// within bounds what should take no time at all, so that a hang is an error.
func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// ask runs a query that gives one value.
func ask(t *testing.T, conn *dial.Conn, sql string) string {
	t.Helper()
	rows, err := conn.Query(within(t, 10*time.Second), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(rows) != 1 || len(rows[0]) != 1 {
		t.Fatalf("%s: rows %v, want one value", sql, rows)
	}
	return rows[0][0].Text
}

func testLogin(t *testing.T, pg *lab.Postgres) {
	tests := []struct {
		name, user string
		credential auth.Credential
	}{
		{"trust", lab.TrustUser, auth.Credential{}},
		{"trust with a password at hand", lab.TrustUser, password("whatever")},
		{"password", lab.PlainUser, password(lab.AppPassword)},
		{"md5 from password", lab.MD5User, password(lab.AppPassword)},
		{"md5 from hash", lab.MD5User, auth.Credential{MD5: auth.HashMD5(lab.AppPassword, lab.MD5User)}},
		{"scram from password", lab.AppUser, password(lab.AppPassword)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			cfg := config(pg, tt.user, tt.credential)
			cfg.KeyCache = auth.NewKeyCache(10)
			cfg.Params = []wire.Param{{Name: "application_name", Value: "dial test"}}
			for range 2 { // the second time out of the cache
				conn := dialed(t, cfg)
				if got := ask(t, conn, "SELECT current_user || '@' || current_database()"); got != tt.user+"@"+lab.AppDatabase {
					t.Errorf("logged in as %s", got)
				}
				if v, _ := conn.Parameter("application_name"); v != "dial test" {
					t.Errorf("application_name is %q", v)
				}
				if v, ok := conn.Parameter("in_hot_standby"); v != "off" || !ok {
					t.Errorf("in_hot_standby is %q, %v", v, ok)
				}
				if pid, key := conn.BackendKey(); pid == 0 || len(key) != 4 {
					t.Errorf("BackendKey() = %d and %d bytes", pid, len(key))
				}
			}
		})
	}
}

func testLoginRefused(t *testing.T, pg *lab.Postgres) {
	nowhere := config(pg, lab.AppUser, password(lab.AppPassword))
	nowhere.Database = "nowhere"
	badParameter := config(pg, lab.AppUser, password(lab.AppPassword))
	badParameter.Params = []wire.Param{{Name: "no_such_setting", Value: "1"}}
	tests := []struct {
		name string
		cfg  *dial.Config
		code string
	}{
		{"wrong scram password", config(pg, lab.AppUser, password("wrong")), wire.CodeInvalidPassword},
		{"wrong md5 password", config(pg, lab.MD5User, password("wrong")), wire.CodeInvalidPassword},
		{"wrong plain password", config(pg, lab.PlainUser, password("wrong")), wire.CodeInvalidPassword},
		{"unknown user", config(pg, "nobody", password("wrong")), wire.CodeInvalidPassword},
		{"unknown database", nowhere, wire.CodeInvalidCatalogName},
		{"unknown parameter", badParameter, "42704"},
		{"no user", config(pg, "", password("wrong")), wire.CodeInvalidAuthorization},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dial.Login(within(t, 10*time.Second), tt.cfg)
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != tt.code || len(e.Raw) == 0 {
				t.Errorf("Login = %v, want the server's %s", err, tt.code)
			}
		})
	}
}

func testMissingSecret(t *testing.T, pg *lab.Postgres) {
	md5 := auth.Credential{MD5: auth.HashMD5(lab.AppPassword, lab.AppUser)}
	stale := auth.Credential{Keys: &auth.Keys{Salt: []byte("another"), Iterations: 4096}}
	tests := []struct {
		name, user string
		credential auth.Credential
		text       string
	}{
		{"nothing for scram", lab.AppUser, auth.Credential{}, "held here is no secret"},
		{"md5 hash for scram", lab.AppUser, md5, "held here is an MD5 hash"},
		{"keys of another verifier", lab.AppUser, stale, "another salt or iteration count"},
		{"keys for md5", lab.MD5User, stale, "held here is SCRAM keys"},
		{"nothing for a password", lab.PlainUser, auth.Credential{}, "asks for a cleartext password"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := dial.Login(within(t, 10*time.Second), config(pg, tt.user, tt.credential))
			var missing *auth.SecretError
			if !errors.As(err, &missing) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("Login = %v, want a SecretError that says %q", err, tt.text)
			}
		})
	}
}

// A client that logs in by SCRAM against the server's own verifier opens the
// server, and no password is kept anywhere.
func testPassThrough(t *testing.T, pg *lab.Postgres) {
	text, err := pg.Verifier(t.Context(), lab.AppUser)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := auth.ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	login := auth.NewServer(auth.ServerConfig{}).Begin(auth.SCRAM, lab.AppUser, secret, true)
	client := auth.NewClient(auth.ClientConfig{User: lab.AppUser, Credential: password(lab.AppPassword)})
	request, _, _ := login.Start()
	for done := false; !done; {
		// SASLFinal and Ok come in one; the client needs neither here.
		answer, _, fault := client.Step(request[5:])
		if fault != nil {
			t.Fatal(fault)
		}
		var refused *wire.Error
		if request, done, refused = login.Step(answer[5:]); refused != nil {
			t.Fatal(refused, login.Reason())
		}
	}
	credential := login.Credential()
	if credential.Password != "" || credential.Keys == nil {
		t.Fatal("the login has not brought SCRAM keys alone")
	}
	dialed(t, config(pg, lab.AppUser, credential))
}

// SASLprep has to come out as the server's does.
func testOddPasswords(t *testing.T, pg *lab.Postgres) {
	for name, odd := range map[string]string{
		"blank":                  " ",
		"quotes":                 `it's "so" \ so`,
		"umlaut composed":        "k\u00f6nig",
		"umlaut decomposed":      "ko\u0308nig",
		"ordinal, NFKC":          "\u00aa\u2168",
		"no-break space":         "a\u00a0b",
		"soft hyphen":            "I\u00adX",
		"soft hyphen alone":      "\u00ad",
		"zero width space":       "a\u200bb",
		"Arabic":                 "\u0627\u0644\u0633\u0631",
		"Arabic and digit":       "\u0627\u0031",
		"Arabic, Latin":          "\u0627a\u0627\u00aa",
		"control":                "a\u0007\u00aa",
		"private use":            "\ue000\u00aa",
		"emoji":                  "\U0001f600",
		"emoji and ordinal":      "\U0001f600\u00aa",
		"new letter and ordinal": "\u0221\u00aa",
		"ligature":               "\ufb01\u00df\u0130",
		"Hangul jamo":            "\u1112\u1161\u11ab",
		"language tag":           "\U000e0041\u00aa",
		"replacement character":  "\ufffd\u00aa",
		"long":                   strings.Repeat("\u00aa\U0001d400", 200),
	} {
		t.Run(name, func(t *testing.T) {
			sql := "DROP ROLE IF EXISTS odd_pass; CREATE ROLE odd_pass LOGIN PASSWORD '" + strings.ReplaceAll(odd, "'", "''") + "'"
			if _, err := pg.SQL(t.Context(), "postgres", sql); err != nil {
				t.Fatal(err)
			}
			dialed(t, config(pg, "odd_pass", password(odd)))
		})
	}
}

func testUnixSocket(t *testing.T, pg *lab.Postgres) {
	cfg := config(pg, lab.Superuser, auth.Credential{})
	cfg.Network, cfg.Address = "unix", filepath.Join(pg.SocketDir, ".s.PGSQL.5432")
	conn := dialed(t, cfg)
	if got := ask(t, conn, "SELECT inet_client_addr() IS NULL"); got != "t" {
		t.Errorf("not connected through the Unix socket")
	}
	fd, _, err := conn.Detach()
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
}

// The server reads options as wire.ParseOptions does.
func testOptions(t *testing.T, pg *lab.Postgres) {
	for _, options := range []string{
		`-c application_name=a\ b\\c`,
		"--application-name=long  -c application_name=later",
		"-e -capplication_name=joined",
		`-c application_name=x=y\`,
		"-ec application_name=grouped",
	} {
		params, _, err := wire.ParseOptions(options)
		if err != nil {
			t.Fatal(err)
		}
		want := ""
		for _, p := range params {
			want = p.Value
		}
		cfg := config(pg, lab.TrustUser, auth.Credential{})
		cfg.Params = []wire.Param{{Name: "options", Value: options}}
		if got := ask(t, dialed(t, cfg), "SHOW application_name"); got != want {
			t.Errorf("options %q: server has %q, ParseOptions %q", options, got, want)
		}
	}
}

func testQuery(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	tests := []struct {
		name, sql string
		want      []dial.Row
	}{
		{"null and empty", "SELECT NULL, '', 'x'", []dial.Row{{{Null: true}, {}, {Text: "x"}}}},
		{"rows", "SELECT g FROM generate_series(1, 3) g", []dial.Row{{{Text: "1"}}, {{Text: "2"}}, {{Text: "3"}}}},
		{"no column", "SELECT", []dial.Row{{}}},
		{"no row", "SELECT 1 WHERE false", nil},
		{"empty query", "", nil},
		{"two statements", "SELECT 1, 2; SELECT 3", []dial.Row{{{Text: "1"}, {Text: "2"}}, {{Text: "3"}}}},
		{"command", "CREATE TEMP TABLE t (a int)", nil},
		{"notice and notification", "LISTEN x; NOTIFY x; DO $$ BEGIN RAISE WARNING 'w'; END $$; SELECT 1", []dial.Row{{{Text: "1"}}}},
	}
	for _, tt := range tests {
		rows, err := conn.Query(within(t, 10*time.Second), tt.sql)
		if err != nil || !slices.EqualFunc(rows, tt.want, slices.Equal[dial.Row]) {
			t.Errorf("%s: %v, %v, want %v", tt.name, rows, err, tt.want)
		}
	}
	if ask(t, conn, "SET application_name = 'changed'; SELECT 1"); !hasParameter(conn, "application_name", "changed") {
		t.Errorf("Parameters() = %q, want application_name=changed", conn.Parameters())
	}
}

func hasParameter(conn *dial.Conn, name, value string) bool {
	return slices.Contains(conn.Parameters(), wire.Param{Name: name, Value: value})
}

func testQueryErrors(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	for sql, code := range map[string]string{
		"SELECT 1; SELECT 1/0; SELECT 2": "22012",
		"SELEC":                          wire.CodeSyntaxError,
		"SELECT g / (g - 9) FROM generate_series(1,9) g": "22012",
	} {
		rows, err := conn.Query(within(t, 10*time.Second), sql)
		var e *wire.Error
		if rows != nil || !errors.As(err, &e) || e.Code != code || e.Fatal() {
			t.Errorf("%s: %v, %v, want ERROR %s", sql, rows, err, code)
		}
	}
	if got := ask(t, conn, "SELECT 7"); got != "7" {
		t.Errorf("after errors: %q", got)
	}
	_, err := conn.Query(within(t, 10*time.Second), "COPY (SELECT 1) TO STDOUT")
	if !errors.Is(err, dial.ErrProtocol) {
		t.Errorf("COPY = %v, want a refusal", err)
	}
	if _, err := conn.Query(t.Context(), "SELECT 1"); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("after COPY: %v, want closed", err)
	}
}

func testQueryInterrupt(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := conn.Query(ctx, "SELECT pg_sleep(60)")
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Query = %v, want deadline exceeded", err)
	}
	if _, err := conn.Query(t.Context(), "SELECT 1"); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("afterwards: %v, want closed", err)
	}
}

// The server's last words count, though it is gone when the query is sent.
func testTerminated(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	killer := dialed(t, config(pg, lab.Superuser, auth.Credential{}))
	pid := ask(t, conn, "SELECT pg_backend_pid()")
	ask(t, killer, "SELECT pg_terminate_backend("+pid+", 5000)")
	_, err := conn.Query(within(t, 10*time.Second), "SELECT 1")
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeAdminShutdown {
		t.Errorf("Query = %v, want FATAL 57P01", err)
	}
}

func testCancel(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	watcher := dialed(t, config(pg, lab.Superuser, auth.Credential{}))
	pid, key := conn.BackendKey()
	ctx := within(t, 20*time.Second)
	failed := make(chan error, 1)
	go func() {
		_, err := conn.Query(ctx, "SELECT pg_sleep(60)")
		failed <- err
	}()
	const sleeping = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND usename = '" + lab.TrustUser + "'"
	for ask(t, watcher, sleeping) == "0" {
	}
	if err := dial.Cancel(ctx, "tcp", pg.Addr, pid, []byte("none")); err != nil {
		t.Errorf("Cancel with a wrong key = %v; the server tells nobody", err)
	}
	if got := ask(t, watcher, sleeping); got != "1" {
		t.Errorf("a wrong key has cancelled the query")
	}
	if err := dial.Cancel(ctx, "tcp", pg.Addr, pid, key); err != nil {
		t.Fatal(err)
	}
	var e *wire.Error
	if err := <-failed; !errors.As(err, &e) || e.Code != wire.CodeQueryCanceled {
		t.Errorf("Query = %v, want ERROR 57014", err)
	}
	ask(t, conn, "SELECT 1")
}

func testDetach(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	pid := ask(t, conn, "SELECT pg_backend_pid()")
	fd, unread, err := conn.Detach()
	if err != nil || len(unread) != 0 {
		t.Fatalf("Detach = %d, %q, %v", fd, unread, err)
	}
	flags, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	descriptor, _ := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	if flags&unix.O_NONBLOCK == 0 || descriptor&unix.FD_CLOEXEC == 0 {
		t.Errorf("flags %o, descriptor flags %o: want non-blocking and close-on-exec", flags, descriptor)
	}
	if err := conn.Close(); err != nil {
		t.Errorf("Close after Detach = %v", err)
	}
	if _, err := conn.Query(t.Context(), "SELECT 1"); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("Query after Detach = %v, want closed", err)
	}
	// The session lives on behind the descriptor.
	file := os.NewFile(uintptr(fd), "server")
	defer file.Close()
	nc, err := net.FileConn(file)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	nc.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := nc.Write([]byte(message('Q', "SELECT pg_backend_pid()\x00"))); err != nil {
		t.Fatal(err)
	}
	var reply []byte
	for !strings.HasSuffix(string(reply), ready) {
		var buf [512]byte
		n, err := nc.Read(buf[:])
		if err != nil {
			t.Fatal(err)
		}
		reply = append(reply, buf[:n]...)
	}
	if !strings.Contains(string(reply), pid) {
		t.Errorf("reply %q, want backend %s", reply, pid)
	}
}

func testDetachRefused(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	ask(t, conn, "BEGIN; SELECT 1")
	if _, _, err := conn.Detach(); err == nil {
		t.Error("Detach in a transaction succeeded")
	}
	ask(t, conn, "COMMIT; SELECT 1")
	conn.Close()
	if _, _, err := conn.Detach(); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("Detach of a closed connection = %v", err)
	}
}

func testSocketOptions(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	fd, _, err := conn.Detach()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for _, option := range []struct {
		name            string
		level, id, want int
	}{
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 10},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 3},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 60000},
	} {
		if got, err := unix.GetsockoptInt(fd, option.level, option.id); err != nil || got != option.want {
			t.Errorf("%s = %d, %v, want %d", option.name, got, err, option.want)
		}
	}
}

func testNoDescriptorLeak(t *testing.T, pg *lab.Postgres) {
	count := func() int {
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(entries)
	}
	run := func() {
		for _, user := range []string{lab.TrustUser, lab.AppUser, "nobody"} {
			conn, err := dial.Login(within(t, 10*time.Second), config(pg, user, auth.Credential{}))
			if err != nil {
				continue
			}
			if fd, _, err := conn.Detach(); err == nil {
				unix.Close(fd)
			}
		}
	}
	run()
	before := count()
	for range 5 {
		run()
	}
	if after := count(); after != before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
