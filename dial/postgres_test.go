//go:build linux

package dial_test

import (
	"context"
	"errors"
	"path/filepath"
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
		"QueryParams":      testQueryParams,
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
