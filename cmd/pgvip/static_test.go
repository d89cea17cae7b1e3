package main

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

// TestRunWithAList: the whole program without Patroni and without etcd, and a
// reload that takes its only server away and gives it back.
func TestRunWithAList(t *testing.T) {
	if testing.Short() {
		t.Skip("needs PostgreSQL")
	}
	t.Parallel()
	pg := lab.StartPostgresT(t, lab.PostgresOptions{})
	address := freeAddress(t)
	config := func(server string) string {
		return fmt.Sprintf(`scope: alone
source: static
static: {servers: {%s}}
listen: {primary: %s, replicas: "", admin: ""}
auth_type: trust
auth_file: users.txt
probe: {user: %s, password: %s}
`, server, address, lab.ProbeUser, lab.ProbePassword)
	}
	real := fmt.Sprintf("one: {address: '%s'}", pg.Addr)
	file := writeConfig(t, config(real))
	users := fmt.Sprintf("%q %q\n", lab.AppUser, lab.AppPassword)
	if err := os.WriteFile(filepath.Join(filepath.Dir(file), "users.txt"), []byte(users), 0o600); err != nil {
		t.Fatal(err)
	}
	c := startChild(t, file, "")
	c.says("the only writable server of the list on timeline 1")
	ask := func() {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable", lab.AppUser, address, lab.AppDatabase))
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(t.Context())
		var recovery bool
		if err := conn.QueryRow(t.Context(), "SELECT pg_is_in_recovery()").Scan(&recovery); err != nil || recovery {
			t.Fatalf("asked through pgvip: %t, %v", recovery, err)
		}
	}
	ask()
	reload := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c.signal(syscall.SIGHUP)
	}
	reload(config(fmt.Sprintf("other: {address: '%s'}", freeAddress(t))))
	c.says("removed from the list")
	reload(config(real))
	ask() // waits until it is there again
	c.signal(syscall.SIGTERM)
	c.ends(0)
}
