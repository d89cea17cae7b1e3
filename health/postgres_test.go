package health

import (
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/route"
)

// until waits for a word on pg1 that ok accepts.
func until(t *testing.T, m *Monitor, what string, limit time.Duration, ok func(route.NodeHealth) bool) route.NodeHealth {
	t.Helper()
	deadline := time.After(limit)
	for {
		if h := m.pg1(); ok(h) {
			return h
		}
		select {
		case <-m.Changed():
		case <-deadline:
			t.Fatalf("%s: not within %v; last %+v", what, limit, m.pg1())
		}
	}
}

// TestRealPostgres: what a real server's answers and faults come to.
func TestRealPostgres(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{})
	probe := dial.Config{User: lab.ProbeUser, Database: "postgres", Credential: auth.Credential{Password: lab.ProbePassword}}
	start := func(t *testing.T, cfg dial.Config) *Monitor {
		m := NewMonitor(Config{Login: PostgreSQL(cfg), Inter: 100 * time.Millisecond, Timeout: 200 * time.Millisecond})
		t.Cleanup(m.Close)
		m.Watch([]Target{{Name: "pg1", Addr: pg.Addr}})
		return m
	}
	t.Run("answer to a role without rights", func(t *testing.T) {
		nobody := dial.Config{User: lab.TrustUser, Database: "postgres"}
		h := until(t, start(t, nobody), "answer", 5*time.Second, func(h route.NodeHealth) bool { return h.State == route.Up })
		if !h.Writable || h.Timeline != 1 || len(h.SystemID) < 18 || h.LSN == 0 || h.Err != "" {
			t.Errorf("got %+v", h)
		}
	})
	rows := []struct {
		name   string
		change func(*dial.Config)
		want   string
	}{
		{"wrong password", func(c *dial.Config) { c.Credential.Password = "wrong" }, "28P01"},
		{"no such database", func(c *dial.Config) { c.Database = "nowhere" }, "3D000"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			cfg := probe
			row.change(&cfg)
			h := until(t, start(t, cfg), "fault", 5*time.Second, func(h route.NodeHealth) bool { return h.Err != "" })
			if h.State != route.Unprobed || !h.CheckError || !strings.Contains(h.Err, row.want) {
				t.Errorf("got %+v, want a check error %s", h, row.want)
			}
		})
	}
	t.Run("stopped", func(t *testing.T) {
		m := start(t, probe)
		until(t, m, "answer", 5*time.Second, func(h route.NodeHealth) bool { return h.State == route.Up })
		if err := pg.Freeze(); err != nil {
			t.Fatal(err)
		}
		until(t, m, "frozen", 10*time.Second, func(h route.NodeHealth) bool { return h.State == route.Down })
		if err := pg.Thaw(); err != nil {
			t.Fatal(err)
		}
		until(t, m, "thawed", 5*time.Second, func(h route.NodeHealth) bool { return h.State == route.Up })
		if err := pg.Kill(); err != nil {
			t.Fatal(err)
		}
		h := until(t, m, "killed", 5*time.Second, func(h route.NodeHealth) bool { return h.State == route.Down })
		if !strings.Contains(h.Err, "connection refused") {
			t.Errorf("got %+v", h)
		}
	})
}
