//go:build linux

package dial_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
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

// Values go beside the SQL: whatever they hold, they stay values.
func testQueryParams(t *testing.T, pg *lab.Postgres) {
	conn := dialed(t, config(pg, lab.TrustUser, auth.Credential{}))
	for _, value := range []string{"", "a", "'; DROP TABLE t; --", "$1", `\`, "\u00fc", strings.Repeat("x", 5000)} {
		rows, err := conn.QueryParams(within(t, 10*time.Second), "SELECT $2::text, NULL, $1::int + 1", "41", value)
		want := []dial.Row{{{Text: value}, {Null: true}, {Text: "42"}}}
		if err != nil || !slices.EqualFunc(rows, want, slices.Equal[dial.Row]) {
			t.Errorf("%q: %v, %v", value, rows, err)
		}
	}
	for sql, code := range map[string]string{
		"SELECT 1; SELECT $1::text": wire.CodeSyntaxError, // two statements
		"SELECT 1":                  wire.CodeProtocolViolation,
		"SELECT $1::int":            "22P02",
	} {
		_, err := conn.QueryParams(within(t, 10*time.Second), sql, "x")
		var e *wire.Error
		if !errors.As(err, &e) || e.Code != code || e.Fatal() {
			t.Errorf("%s: %v, want ERROR %s", sql, err, code)
		}
	}
	if rows, err := conn.QueryParams(within(t, 10*time.Second), "SET work_mem = '5MB'"); err != nil || rows != nil {
		t.Errorf("a command: %v, %v", rows, err)
	}
	if got := ask(t, conn, "SHOW work_mem"); got != "5MB" {
		t.Errorf("afterwards: %q", got)
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
	if _, err := conn.Query(t.Context(), "SELECT 1"); !errors.Is(err, dial.ErrClosed) {
		t.Errorf("afterwards: %v, want closed", err)
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
	sleeping := fmt.Sprintf("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND pid = %d", pid)
	for ask(t, watcher, sleeping) == "0" {
	}
	if err := dial.Cancel(ctx, &dial.Config{Network: "tcp", Address: pg.Addr}, pid, []byte("none")); err != nil {
		t.Errorf("Cancel with a wrong key = %v; the server tells nobody", err)
	}
	if got := ask(t, watcher, sleeping); got != "1" {
		t.Errorf("a wrong key has cancelled the query")
	}
	if err := dial.Cancel(ctx, &dial.Config{Network: "tcp", Address: pg.Addr}, pid, key); err != nil {
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
	for _, tt := range []struct {
		name                                        string
		keepalive                                   *dial.Keepalive
		enabled, idle, interval, count, userTimeout int
	}{
		{"default", nil, 1, 10, 3, 3, 60_000},
		{"own", &dial.Keepalive{Enabled: true, Idle: 7 * time.Second, Interval: 2 * time.Second, Count: 5,
			UserTimeout: 1500 * time.Millisecond}, 1, 7, 2, 5, 1500},
		{"off", &dial.Keepalive{Idle: 7 * time.Second, Interval: 2 * time.Second, Count: 5}, 0, 7, 2, 5, 0},
	} {
		cfg := config(pg, lab.TrustUser, auth.Credential{})
		cfg.Keepalive = tt.keepalive
		fd, _, err := dialed(t, cfg).Detach()
		if err != nil {
			t.Fatal(err)
		}
		for _, option := range []struct {
			name            string
			level, id, want int
		}{
			{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
			{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, tt.enabled},
			{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, tt.idle},
			{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, tt.interval},
			{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, tt.count},
			{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, tt.userTimeout},
		} {
			if got, err := unix.GetsockoptInt(fd, option.level, option.id); err != nil || got != option.want {
				t.Errorf("%s: %s = %d, %v, want %d", tt.name, option.name, got, err, option.want)
			}
		}
		unix.Close(fd)
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
