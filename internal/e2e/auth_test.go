package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
)

const invalidAuthorization = "28000"

// TestUsersNeedNoFile: with auth_query and an hba file the cluster itself says who
// may come in, from the first client on, and the rules change by a reload.
func TestUsersNeedNoFile(t *testing.T) {
	dir := t.TempDir()
	hba := filepath.Join(dir, "hba")
	rules := func(text string) {
		t.Helper()
		if err := os.WriteFile(hba, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "nobody"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	rules("host app app 127.0.0.0/8 scram-sha-256\nlocal all all peer\n")
	p := pgvip(t, 15, settings{
		"auth_type":          "hba",
		"auth_hba_file":      hba,
		"auth_file":          filepath.Join(dir, "nobody"),
		"auth_user":          lab.AuthUser,
		"auth_user_password": lab.AuthPassword,
		"auth_query":         "SELECT * FROM public.user_lookup($1)",
	})
	p.ready(t)
	staying := connect(t, p.primary)

	rules("host app app 127.0.0.0/8\n")
	p.reload(t, rejected)
	if err := connectError(t, url(p.primary)); err != nil {
		t.Errorf("after a reload of a broken file: %v", err)
	}
	rules("host app app 127.0.0.0/8 reject\n")
	p.reload(t, reloaded)
	if err := connectError(t, url(p.primary)); sqlstate(err) != invalidAuthorization {
		t.Errorf("rejected: %v, want %s", err, invalidAuthorization)
	}
	if _, err := staying.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a session from before: %v", err)
	}
}

// TestDefaultAuthQuery: the query that nobody has configured lets in whose password
// runs out some day or never, and not whose has (CVE-2025-2291).
func TestDefaultAuthQuery(t *testing.T) {
	c := cluster(t)
	leader, err := c.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	sql := func(text string) {
		t.Helper()
		if _, err := leader.Postgres.SQL(t.Context(), "postgres", text); err != nil {
			t.Fatal(err)
		}
	}
	for role, until := range map[string]string{"until_2999": "2999-12-31", "until_2000": "2000-01-01", "until_infinity": "infinity"} {
		sql("CREATE ROLE " + role + " LOGIN PASSWORD '" + lab.AppPassword + "' VALID UNTIL '" + until + "'")
		t.Cleanup(func() { leader.Postgres.SQL(context.Background(), "postgres", "DROP ROLE "+role) })
	}
	empty := filepath.Join(t.TempDir(), "nobody")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	p := pgvip(t, 15, settings{"auth_type": "scram-sha-256", "auth_file": empty, "auth_user": lab.Superuser})
	p.ready(t)
	for role, want := range map[string]string{"until_2999": "", "until_infinity": "", lab.AppUser: "", "until_2000": "28P01"} {
		dsn := strings.Replace(url(p.primary), "//"+lab.AppUser+":", "//"+role+":", 1)
		if err := connectError(t, dsn); sqlstate(err) != want || want == "" && err != nil {
			t.Errorf("%s: %v, want SQLSTATE %q", role, err, want)
		}
	}
}
