package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

// connectError is the error of logging in, or of a first query after it.
func connectError(t *testing.T, dsn string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), driverLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, dsn)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "SELECT 1")
	return err
}

// explained is all that a server's error says to its reader.
func explained(err error) string {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return fmt.Sprint(err)
	}
	return strings.Join([]string{e.Severity, e.Code, e.Message, e.Detail, e.Hint}, " | ")
}

func TestLoginRefusals(t *testing.T) {
	p := sharedPgvip(t)
	for _, tc := range []struct{ name, from, to, want string }{
		{"wrong password", lab.AppPassword, "wrong", invalidPassword},
		{"unknown user", lab.AppUser + ":", "nobody:", invalidPassword},
		{"unknown database", "/" + lab.AppDatabase + "?", "/nowhere?", invalidCatalog},
		{"right", "", "", ""},
	} {
		for _, addr := range []string{p.primary, p.replicas} {
			err := connectError(t, strings.Replace(url(addr), tc.from, tc.to, 1))
			if got := sqlstate(err); got != tc.want {
				t.Errorf("%s on %s: %v, want %q", tc.name, addr, err, tc.want)
			}
		}
	}
}

func TestFullPool(t *testing.T) {
	p := pgvip(t, 4, settings{"default_pool_size": "1", "query_wait_timeout": "300ms"})
	p.ready(t)
	holder, waiter := connect(t, p.primary), connect(t, p.primary)
	if _, err := holder.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	_, err := waiter.Exec(t.Context(), "SELECT 2")
	took := time.Since(start)
	if got := sqlstate(err); got != cannotConnectNow {
		t.Errorf("a query that found no server: %v, want %s", err, cannotConnectNow)
	}
	if took < 300*time.Millisecond || took > 2*time.Second {
		t.Errorf("it waited %v, want query_wait_timeout, 300ms", took)
	}
	if !strings.Contains(explained(err), "query_wait_timeout") {
		t.Errorf("the error does not name the setting (rule 14): %s", explained(err))
	}
	if _, err := holder.Exec(t.Context(), "SELECT 3"); err != nil {
		t.Errorf("who had the server lost it: %v", err)
	}
	holder.Close(t.Context())
	if err := connectError(t, url(p.primary)); err != nil {
		t.Errorf("the pool stayed full: %v", err)
	}
}

func TestTooManyClients(t *testing.T) {
	p := pgvip(t, 5, settings{"max_client_conn": "3"})
	p.ready(t)
	var all []*pgx.Conn
	for range 3 {
		all = append(all, connect(t, p.primary))
	}
	err := connectError(t, url(p.primary))
	if got := sqlstate(err); got != tooManyConnection {
		t.Errorf("one client too many: %v, want %s", err, tooManyConnection)
	}
	if !strings.Contains(explained(err), "max_client_conn") {
		t.Errorf("the error does not name the setting (rule 14): %s", explained(err))
	}
	all[0].Close(t.Context())
	// The place is free when pgvip has seen the close, a moment later.
	for start := time.Now(); ; {
		if err = connectError(t, url(p.primary)); err == nil {
			break
		}
		if time.Since(start) > readyLimit {
			t.Fatalf("the place of a client that left stays taken: %v", err)
		}
	}
}

// TestEtcdDownAtStart: pgvip starts, says what is missing, and serves as soon as
// etcd is there.
func TestEtcdDownAtStart(t *testing.T) {
	c := cluster(t)
	etcd := net.JoinHostPort(c.Host(40), "2379")
	p := pgvip(t, 6, settings{"etcd.hosts": "[" + etcd + "]", "failover_wait_timeout": "500ms"})
	for _, addr := range []string{p.primary, p.replicas} {
		start := time.Now()
		err := connectError(t, url(addr))
		if got := sqlstate(err); got != cannotConnectNow {
			t.Errorf("%s without etcd: %v, want %s", addr, err, cannotConnectNow)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s: the refusal took %v", addr, took)
		}
	}
	relay(t, etcd, c.EtcdEndpoints()[0])
	p.ready(t)
	if err := connectError(t, url(p.primary)); err != nil {
		t.Error(err)
	}
}

// relay passes connections on until the test ends.
func relay(t *testing.T, listen, to string) {
	t.Helper()
	ln, err := net.Listen("tcp", listen)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() {
		cancel()
		ln.Close()
		wg.Wait()
	})
	wg.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			server, err := net.Dial("tcp", to)
			if err != nil {
				client.Close()
				continue
			}
			context.AfterFunc(ctx, func() { client.Close(); server.Close() })
			wg.Go(func() { io.Copy(server, client); server.Close() })
			wg.Go(func() { io.Copy(client, server); client.Close() })
		}
	})
}

func TestPortInUse(t *testing.T) {
	p := sharedPgvip(t)
	path, err := configFor(p.cluster, 0, settings{})
	if err != nil {
		t.Fatal(err)
	}
	code, out := runPgvip(t, "run", "-c", path)
	if code != 1 {
		t.Errorf("exit code %d, want 1\n%s", code, out)
	}
	if !strings.Contains(out, p.primary) || !strings.Contains(out, "address already in use") {
		t.Errorf("the message does not say which address is in use:\n%s", out)
	}
}

func TestBrokenConfig(t *testing.T) {
	cluster(t)
	path := filepath.Join(t.TempDir(), "pgvip.yaml")
	text := "scope: lab\nno_such_key: 1\ndefault_pool_size: many\nquery_wait_timeout: 5\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"run", "-c", path}, {"check", "-c", path}, {"run", "-c", path + ".missing"}, {"run", "--no-such-flag"}} {
		code, out := runPgvip(t, args...)
		if code != 2 {
			t.Errorf("%s: exit code %d, want 2\n%s", args, code, out)
		}
		if args[len(args)-1] != path {
			continue
		}
		for _, want := range []string{":2:", "no_such_key", ":3:", "default_pool_size", ":4:", "query_wait_timeout", "etcd.hosts", "probe.user"} {
			if !strings.Contains(out, want) {
				t.Errorf("%s: the faults do not say %q:\n%s", args, want, out)
			}
		}
	}
}

// runPgvip runs a command that ends by itself.
func runPgvip(t *testing.T, args ...string) (code int, out string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), readyLimit)
	defer cancel()
	text, err := exec.CommandContext(ctx, world.binary(), args...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return code, string(text)
}
