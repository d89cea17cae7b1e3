package console

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/stats"
)

// eventually waits for a condition that becomes true by itself.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

func code(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// TestPauseWaits covers the ways in which the waiting of PAUSE ends.
func TestPauseWaits(t *testing.T) {
	for _, tt := range []struct {
		name   string
		end    func(t *testing.T, s *site, conn *pgconn.PgConn, free func())
		code   string // of the error, empty for none
		paused bool   // afterwards
	}{
		{"the last server goes", func(_ *testing.T, _ *site, _ *pgconn.PgConn, free func()) { free() }, "", true},
		{"Ctrl-C takes it back", func(t *testing.T, _ *site, conn *pgconn.PgConn, _ func()) {
			if err := conn.CancelRequest(t.Context()); err != nil {
				t.Error(err)
			}
		}, "57014", false},
		{"RESUME from elsewhere", func(t *testing.T, s *site, _ *pgconn.PgConn, free func()) {
			if _, err := s.connect(t, "root").Exec(t.Context(), "RESUME app").ReadAll(); err != nil {
				t.Error(err)
			}
			free()
		}, "55000", false},
		{"pgvip stops", func(_ *testing.T, s *site, _ *pgconn.PgConn, _ func()) { s.Server.Close() }, "57P01", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, 0)
			free := s.fake.busy()
			defer free()
			conn := s.connect(t, "root")
			result := make(chan error, 1)
			go func() {
				_, err := conn.Exec(context.Background(), "PAUSE app").ReadAll()
				result <- err
			}()
			s.waits(t)
			tt.end(t, s, conn, free)
			if err := <-result; code(err) != tt.code {
				t.Errorf("PAUSE: %v, want SQLSTATE %q", err, tt.code)
			}
			if got := s.fake.isPaused("app"); got != tt.paused {
				t.Errorf("paused afterwards: %t, want %t", got, tt.paused)
			}
		})
	}
}

// waits waits until a session waits in a command.
func (s *site) waits(t *testing.T) {
	t.Helper()
	eventually(t, "a command waits", func() bool {
		s.Server.mu.Lock()
		defer s.Server.mu.Unlock()
		for session := range s.sessions {
			session.mu.Lock()
			waiting := session.cancel != nil
			session.mu.Unlock()
			if waiting {
				return true
			}
		}
		return false
	})
}

// TestOperatorGoesWhilePauseWaits: the PAUSE stays, the place becomes free.
func TestOperatorGoesWhilePauseWaits(t *testing.T) {
	for _, how := range []string{"close", "Terminate"} {
		t.Run(how, func(t *testing.T) {
			s := newSite(t, 0)
			defer s.fake.busy()()
			r := s.raw(t).send('Q', "PAUSE app")
			s.waits(t)
			if how == "Terminate" {
				r.send('X')
			} else {
				r.conn.Close()
			}
			eventually(t, "the session ends", func() bool { return len(s.sockets()) == 0 })
			if !s.fake.isPaused("app") {
				t.Error("PAUSE was taken back")
			}
		})
	}
}

func TestCancelWithoutWaitingChangesNothing(t *testing.T) {
	s := newSite(t, 0)
	r := s.raw(t)
	s.Server.Cancel(1, []byte{1, 2, 3, 4})
	r.send('Q', "SHOW VERSION").expect("TDCZ")
}

func TestCancelNeedsTheKey(t *testing.T) {
	s := newSite(t, 0)
	free := s.fake.busy()
	defer free()
	r := s.raw(t).send('Q', "PAUSE app")
	s.waits(t)
	s.Server.Cancel(1, []byte{1, 2, 3, 5})
	s.Server.Cancel(2, []byte{1, 2, 3, 4})
	free()
	r.expect("CZ")
}

func TestStatsUsersMayOnlyLook(t *testing.T) {
	conn := newSite(t, 0).connect(t, "monitor")
	for _, sql := range []string{"SHOW CLIENTS", "SHOW CONFIG", "SHOW HELP", "SELECT POOLS", "SET timezone = 'x'", "BEGIN", ""} {
		if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Errorf("%q: %v", sql, err)
		}
	}
	for _, sql := range []string{"PAUSE", "RESUME", "RELOAD", "SHUTDOWN", "KILL app", "KILL_CLIENT 77", "SET default_pool_size = 1",
		"DISABLE app", "ENABLE app", "RECONNECT", "WAIT_CLOSE", "SUSPEND"} {
		_, err := conn.Exec(t.Context(), sql).ReadAll()
		if code(err) != "42501" || !strings.Contains(err.Error(), "admin access needed") {
			t.Errorf("%q: %v, want admin access needed", sql, err)
		}
	}
}

func TestOperatorsAreBounded(t *testing.T) {
	s := newSite(t, 1)
	first := s.connect(t, "root")
	_, err := pgconn.Connect(t.Context(), s.url("root"))
	if code(err) != "53300" {
		t.Errorf("second operator: %v, want 53300", err)
	}
	first.Close(t.Context())
	eventually(t, "the place is free", func() bool { return len(s.sockets()) == 0 })
	s.connect(t, "root")
}

func TestKillClient(t *testing.T) {
	s := newSite(t, 0)
	victim, killer := s.connect(t, "root"), s.connect(t, "root")
	if _, err := killer.Exec(t.Context(), "KILL_CLIENT 77").ReadAll(); err != nil || s.fake.told() != "kill 77" {
		t.Errorf("KILL_CLIENT 77: %v, target was told %q", err, s.fake.told())
	}
	if _, err := killer.Exec(t.Context(), "KILL_CLIENT 1").ReadAll(); err != nil {
		t.Errorf("KILL_CLIENT of an operator: %v", err)
	}
	if _, err := victim.Exec(t.Context(), "SHOW VERSION").ReadAll(); err == nil {
		t.Error("the operator is still there")
	}
}

func TestShutdownModes(t *testing.T) {
	s := newSite(t, 0)
	conn := s.connect(t, "root")
	for _, sql := range []string{"SHUTDOWN", "SHUTDOWN wait_for_servers", "SHUTDOWN WAIT_FOR_CLIENTS"} {
		if _, err := conn.Exec(t.Context(), sql).ReadAll(); err != nil {
			t.Error(err)
		}
	}
	if got, want := s.fake.told(), "shutdown 0,shutdown 1,shutdown 2"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestExtendedProtocol sends what no driver sends on a good day.
func TestExtendedProtocol(t *testing.T) {
	for _, tt := range []struct {
		name string
		send func(r *raw)
		want string
	}{
		{"a whole cycle", func(r *raw) {
			r.send('P', "s", "SHOW LISTS", 0).send('D', byte('S'), "s").send('B', "p", "s", 0, 0, 0).send('D', byte('P'), "p").
				send('E', "p", int32(0)).send('C', byte('P'), "p").send('C', byte('S'), "s").send('S')
		}, "1tT2T" + strings.Repeat("D", 14) + "C33Z"},
		{"in portions", func(r *raw) {
			r.send('P', "", "SHOW STATE", 0).send('B', "", "", 0, 0, 0).send('E', "", int32(2)).send('E', "", int32(2)).send('S')
		}, "12DDsDCZ"},
		{"no rows to describe", func(r *raw) {
			r.send('P', "", "RECONNECT", 0).send('D', byte('S'), "").send('B', "", "", 0, 0, 0).send('E', "", int32(0)).send('S')
		}, "1tn2CZ"},
		{"an empty query", func(r *raw) { r.send('P', "", "", 0).send('B', "", "", 0, 0, 0).send('E', "", int32(0)).send('S') }, "12IZ"},
		{"errors skip to Sync", func(r *raw) {
			r.send('P', "", "NONSENSE", 0).send('B', "", "", 0, 0, 0).send('E', "", int32(0)).send('S').send('Q', "SHOW VERSION")
		}, "E(42601)ZTDCZ"},
		{"no such statement", func(r *raw) { r.send('B', "", "nix", 0, 0, 0).send('D', byte('S'), "nix").send('S') }, "E(26000)Z"},
		{"no such portal", func(r *raw) { r.send('E', "nix", int32(0)).send('S').send('D', byte('P'), "nix").send('S') }, "E(34000)ZE(34000)Z"},
		{"a name twice", func(r *raw) { r.send('P', "s", "SHOW STATE", 0).send('P', "s", "SHOW STATE", 0).send('S') }, "1E(42P05)Z"},
		{"parameters", func(r *raw) { r.send('P', "", "SHOW STATE", 1, int32(25)).send('S') }, "E(0A000)Z"},
		{"parameter values", func(r *raw) {
			r.send('P', "", "SHOW STATE", 0).send('B', "", "", 1, 0, 1, int32(1), byte('x'), 0).send('S')
		}, "1E(08P01)Z"},
		{"a format that there is not", func(r *raw) {
			r.send('P', "", "SHOW STATE", 0).send('B', "", "", 0, 0, 1, 2).send('S')
		}, "1E(22023)Z"},
		{"formats for other columns", func(r *raw) {
			r.send('P', "", "SHOW STATE", 0).send('B', "", "", 0, 0, 3, 1, 1, 1).send('S')
		}, "1E(08P01)Z"},
		{"a message cut short", func(r *raw) { r.send('B', "", "", 7).send('S').send('Q') }, "E(08P01)ZE(08P01)Z"},
		{"a function call", func(r *raw) { r.send('F', int32(1), 0, 0, 0).send('S') }, "E(0A000)Z"},
		{"Flush", func(r *raw) { r.send('P', "", "SHOW STATE", 0).send('H') }, "1"},
		{"no such message", func(r *raw) { r.send('!') }, "E(08P01)"},
		{"a message without an end", func(r *raw) { r.conn.Write([]byte{'Q', 0x7f, 0xff, 0xff, 0xff}) }, "E(54000)"},
		{"two at once", func(r *raw) { r.send('Q', "SHOW VERSION").send('Q', ";").send('Q', "-- ping") }, "TDCZIZIZ"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newSite(t, 0).raw(t)
			tt.send(r)
			r.expect(tt.want)
		})
	}
}

// TestPoolsOfOneAccountAreOneRow: the columns are sums, the wait is the longest.
func TestPoolsOfOneAccountAreOneRow(t *testing.T) {
	conn := newSite(t, 0).connect(t, "root")
	results, err := conn.Exec(t.Context(), "SHOW POOLS").ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range results[0].Rows {
		var cells []string
		for _, c := range r {
			cells = append(cells, string(c))
		}
		got = append(got, strings.Join(cells, "|"))
	}
	want := []string{
		"app|ann|1|0|0|0|0|0|0|0|0|0|0|0|0|||0|",
		"app|joe|20|10|5|0|11|5|6|2|0|3|4|2|0|transaction||2|busy; no node to go to",
		"pgbouncer|pgbouncer|1|0|0|0|0|0|0|0|0|0|0|0|0|statement||0|",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestSocketRows(t *testing.T) {
	s := newSite(t, 0)
	conn := s.connect(t, "root")
	results, err := conn.Exec(t.Context(), "SHOW ACTIVE_SOCKETS").ReadAll()
	if err != nil || len(results[0].Rows) != 1 {
		t.Fatalf("%d rows, %v", len(results[0].Rows), err)
	}
	var got []string
	for _, c := range results[0].Rows[0] {
		got = append(got, string(c))
	}
	want := "C|joe|app|none|cl_active|10.0.0.7|40001|10.0.0.1|5000|2026-11-24 01:02:03 UTC|2026-11-24 01:02:03 UTC|1|2|0|C4d|S5|0||shop|3|77|0|0|0|0|0|9|0|n1|"
	if g := strings.Join(got, "|"); g != want {
		t.Errorf("got  %s\nwant %s", g, want)
	}
}

// stuck is a Target whose event loops do not answer.
type stuck struct{ *fake }

func (stuck) Pools(ctx context.Context) ([]stats.Pool, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestShowGivesUpOnStuckLoops(t *testing.T) {
	s := newSite(t, 0)
	s.target, s.patience = stuck{s.fake}, time.Millisecond
	s.raw(t).send('Q', "SHOW POOLS").expect("E(XX000)Z")
}
