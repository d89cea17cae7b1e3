package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/internal/lab"
)

// edit replaces lines of the configuration, given by their beginnings, and adds
// those that have none; an empty line removes.
func (p *process) edit(t *testing.T, change map[string]string) {
	t.Helper()
	data, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	var kept strings.Builder
	for start, line := range change {
		if line != "" {
			kept.WriteString(start + line + "\n")
		}
	}
	for line := range strings.Lines(string(data)) {
		if _, replaced := change[line[:strings.IndexByte(line, ':')+1]]; !replaced {
			kept.WriteString(line)
		}
	}
	if err := os.WriteFile(p.file, []byte(kept.String()), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reload sends SIGHUP and waits until the log says what came of it.
func (p *process) reload(t *testing.T, verdict string) {
	t.Helper()
	before := strings.Count(p.log.String(), verdict)
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for start := time.Now(); strings.Count(p.log.String(), verdict) == before; {
		if time.Since(start) > readyLimit {
			t.Fatalf("the log does not say %q", verdict)
		}
		<-time.After(5 * time.Millisecond)
	}
}

const (
	reloaded = "reloaded"
	rejected = "nothing has changed"
)

// askLater sends a query that may have to wait, and gives its error to come.
func askLater(t *testing.T, conn *pgx.Conn) <-chan error {
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), driverLimit)
		defer cancel()
		_, err := conn.Exec(ctx, "SELECT 1")
		done <- err
	}()
	return done
}

// silent reports an error when the answer comes before the log says verdict of a
// reload that is not to bring it.
func (p *process) silent(t *testing.T, answer <-chan error) {
	t.Helper()
	p.reload(t, reloaded)
	select {
	case err := <-answer:
		t.Errorf("the query that was to wait came back: %v", err)
	default:
	}
}

func TestReloadChangesPoolsAndTimeoutsOfWaitingClients(t *testing.T) {
	p := pgvip(t, 12, settings{"default_pool_size": "1", "query_wait_timeout": "1h"})
	p.ready(t)
	holder, second, third := connect(t, p.primary), connect(t, p.primary), connect(t, p.primary)
	if _, err := holder.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Fatal(err)
	}
	answer := askLater(t, second)
	p.silent(t, answer)
	p.edit(t, map[string]string{"default_pool_size:": " 2"})
	p.reload(t, reloaded)
	if err := <-answer; err != nil {
		t.Errorf("who waited, after the pool has grown: %v", err)
	}

	answer = askLater(t, third)
	p.silent(t, answer)
	p.edit(t, map[string]string{"query_wait_timeout:": " 200ms"})
	p.reload(t, reloaded)
	if err := <-answer; sqlstate(err) != cannotConnectNow {
		t.Errorf("who waited, after query_wait_timeout was lowered: %v, want %s", err, cannotConnectNow)
	}

	p.edit(t, map[string]string{"query_wait_timeout:": " 1h", "databases:": " {" + lab.AppDatabase + ": {pool_size: 3}}"})
	p.reload(t, reloaded)
	if err := <-askLater(t, connect(t, p.primary)); err != nil {
		t.Errorf("after the database has got a size of its own: %v", err)
	}
	p.edit(t, map[string]string{"databases:": " {" + lab.AppDatabase + ": {disabled: true}}"})
	p.reload(t, reloaded)
	if err := connectError(t, url(p.primary)); err == nil {
		t.Error("a disabled database lets clients in")
	}
	if _, err := holder.Exec(t.Context(), "SELECT 2"); err != nil {
		t.Errorf("who had a server all the time lost it: %v", err)
	}
}

func TestReloadRereadsTheUserList(t *testing.T) {
	p := pgvip(t, 13, settings{})
	p.ready(t)
	staying := connect(t, p.primary)
	list := filepath.Join(filepath.Dir(p.file), "userlist.txt")
	data, err := os.ReadFile(list)
	if err != nil {
		t.Fatal(err)
	}
	without := strings.Replace(string(data), `"`+lab.AppUser+`"`, `"somebody"`, 1)
	if err := os.WriteFile(list, []byte(without), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := connectError(t, url(p.primary)); err != nil {
		t.Errorf("before the reload: %v", err)
	}
	p.reload(t, reloaded)
	if err := connectError(t, url(p.primary)); sqlstate(err) != invalidPassword {
		t.Errorf("a user who has left the list: %v, want %s", err, invalidPassword)
	}
	if _, err := staying.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Errorf("a session of a user who has left the list: %v", err)
	}
	if err := os.WriteFile(list, data, 0o600); err != nil {
		t.Fatal(err)
	}
	p.reload(t, reloaded)
	if err := connectError(t, url(p.primary)); err != nil {
		t.Errorf("a user who has come back: %v", err)
	}
}

// What is right in a broken file must not count either.
func TestReloadOfABrokenFileChangesNothing(t *testing.T) {
	p := pgvip(t, 14, settings{"max_client_conn": "2"})
	p.ready(t)
	conn := connect(t, p.primary)
	p.edit(t, map[string]string{"max_client_conn:": " 1", "query_wait_timeout:": " 5"})
	p.reload(t, rejected)
	if !strings.Contains(p.log.String(), `query_wait_timeout: must have a unit, is 5: write "5s" or "5ms"`) {
		t.Errorf("the log does not name the fault:\n%s", p.log)
	}
	if err := connectError(t, url(p.primary)); err != nil {
		t.Errorf("a second client, as the file in force allows: %v", err)
	}
	if _, err := conn.Exec(t.Context(), "SELECT 1"); err != nil {
		t.Error(err)
	}
}

// A change of pool_mode counts for a session from its next server on. What it has
// left on the one it had is nobody else's business.
func TestReloadChangesThePoolMode(t *testing.T) {
	p := pgvip(t, 18, settings{"default_pool_size": "1"})
	p.ready(t)
	simple := func(conn *pgx.Conn, sql string) (value string, err error) {
		ctx, cancel := context.WithTimeout(t.Context(), driverLimit)
		defer cancel()
		return value, conn.QueryRow(ctx, sql, pgx.QueryExecModeSimpleProtocol).Scan(&value)
	}
	want := func(conn *pgx.Conn, sql, value string) {
		t.Helper()
		if got, err := simple(conn, sql); err != nil || got != value {
			t.Errorf("%s = %q, %v; want %s", sql, got, err, value)
		}
	}
	first, second := connect(t, p.primary), connect(t, p.primary)
	want(first, "SELECT set_config('work_mem', '9MB', false)", "9MB")
	want(first, "SELECT set_config('statement_timeout', '1h', false)", "1h")
	p.edit(t, map[string]string{"pool_mode:": " transaction"})
	p.reload(t, reloaded)
	want(first, "SHOW work_mem", "9MB")
	first.Close(t.Context())
	want(second, "SHOW work_mem", "4MB")
	want(second, "SHOW statement_timeout", "0")
	third := connect(t, p.primary)
	want(third, "SELECT 'shared'", "shared") // with second still there, on one server
	want(second, "SELECT 'shared'", "shared")

	p.edit(t, map[string]string{"pool_mode:": " session"})
	p.reload(t, reloaded)
	want(second, "SELECT set_config('work_mem', '8MB', false)", "8MB")
	answer := askLater(t, third)
	p.silent(t, answer)
	want(second, "SHOW work_mem", "8MB")
	second.Close(t.Context())
	if err := <-answer; err != nil {
		t.Errorf("who waited for a session to end: %v", err)
	}
	want(third, "SHOW work_mem", "4MB")
}
