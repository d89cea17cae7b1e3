package main

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/pgvip/pgvip/dcs"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// script is a source that says what a test tells it to.
type script chan dcs.Snapshot

func (s script) Run(ctx context.Context, news func(dcs.Snapshot)) {
	for {
		select {
		case snap := <-s:
			news(snap)
		case <-ctx.Done():
			return
		}
	}
}

func (script) Stats() dcs.Stats { return dcs.Stats{} }

// servers are nodes that answer probes at once: "f" writable, "t" in recovery.
type servers struct {
	mu       sync.Mutex
	recovery map[string]string // by address
	refusal  error             // of every login; nil lets them in
}

func (s *servers) set(addr, recovery string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.recovery[addr] = recovery
}

func (s *servers) login(_ context.Context, addr string) (health.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return serverConn{s, addr}, s.refusal
}

type serverConn struct {
	servers *servers
	addr    string
}

func (c serverConn) Query(context.Context, string) ([][]string, error) {
	c.servers.mu.Lock()
	defer c.servers.mu.Unlock()
	recovery := c.servers.recovery[c.addr]
	if recovery == "t" {
		return [][]string{{"t", "7301", "", "1", "", "", ""}}, nil
	}
	return [][]string{{"f", "7301", "00000002", "1", "", "", ""}}, nil
}

func (serverConn) Close() error { return nil }

// stage is a control in simulated time, with two nodes of which pg1 leads.
type stage struct {
	script  script
	servers *servers
	topo    route.Topology
	tables  *published
	control *control
	logs    *observer.ObservedLogs
}

// play runs f on a stage.
func play(t *testing.T, f func(*testing.T, *stage)) { playWith(t, func(*control) {}, f) }

// playWith runs f on a stage whose control was prepared before it began to run.
func playWith(t *testing.T, prepare func(*control), f func(*testing.T, *stage)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.InfoLevel)
		s := &stage{
			script: make(script), servers: &servers{recovery: map[string]string{"pg1:1": "f", "pg2:1": "t"}},
			tables: &published{moved: make(chan struct{}, 1)}, logs: logs,
			topo: route.Topology{
				Leader: "pg1", SystemID: "7301", Initialized: true, Timeline: 1, Revision: 1, ClusterID: 1,
				Members: []route.Member{
					{Name: "pg1", Addr: "pg1:1", State: "running", Role: "primary"},
					{Name: "pg2", Addr: "pg2:1", State: "running", Role: "replica"},
				},
			},
		}
		s.control = newControl(s.script, health.NewMonitor(health.Config{Login: advised(s.servers.login)}), s.tables.publish, zap.New(core))
		prepare(s.control)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { s.control.Run(ctx) })
		f(t, s)
		cancel()
		wg.Wait()
	})
}

// news sends the topology as it is, read now.
func (s *stage) news() {
	s.topo.Revision++
	topo := s.topo
	topo.Members = slices.Clone(topo.Members) // a snapshot is immutable
	s.script <- dcs.Snapshot{Topology: topo, At: time.Now()}
	synctest.Wait()
}

// pass lets time go by, with a read each second.
func (s *stage) pass(d time.Duration) {
	for ; d > time.Second; d -= time.Second {
		time.Sleep(time.Second)
		s.news()
	}
	time.Sleep(d)
	synctest.Wait()
}

// TestControlInTime: from the writable moment to the published table passes at
// most one urgent interval; the fence is published at once.
func TestControlInTime(t *testing.T) {
	play(t, func(t *testing.T, s *stage) {
		synctest.Wait()
		if s.tables.count() != 1 || s.tables.epoch() != 0 {
			t.Errorf("before any news: %s", s.tables.last())
		}
		s.news()
		if !strings.Contains(s.tables.last(), "epoch 1, primary pg1") {
			t.Errorf("after the first news: %s", s.tables.last())
		}
		select {
		case <-s.control.Ready():
		default:
			t.Error("not ready")
		}
		s.pass(10500 * time.Millisecond)
		s.topo.Leader = "pg2"
		before := time.Now()
		s.news()
		if !strings.Contains(s.tables.last(), "epoch 2, primary none, candidate pg2") || time.Since(before) != 0 {
			t.Errorf("key moved: after %v %s", time.Since(before), s.tables.last())
		}
		s.pass(207 * time.Millisecond)
		s.servers.set("pg2:1", "f")
		s.pass(20 * time.Millisecond)
		if !strings.Contains(s.tables.last(), "epoch 3, primary pg2") {
			t.Errorf("20 ms after the promotion: %s", s.tables.last())
		}
		if got := s.logs.FilterMessage("primary proven").Len(); got != 2 {
			t.Errorf("%d proofs logged, want 2", got)
		}
	})
}

// TestControlAges: the grades come by themselves when no news does, and the
// trouble is logged once, not each time it is told.
func TestControlAges(t *testing.T) {
	play(t, func(t *testing.T, s *stage) {
		s.news()
		at := time.Now()
		for _, row := range []struct {
			age   time.Duration
			grade string
		}{{1999 * time.Millisecond, "FRESH"}, {2 * time.Second, "STALE"}, {10 * time.Second, "STALE"}, {10*time.Second + 1, "BLIND"}} {
			// Two members of etcd, tried in turn.
			s.script <- dcs.Snapshot{Topology: s.topo, At: at, Err: errors.New("one: no quorum")}
			s.script <- dcs.Snapshot{Topology: s.topo, At: at, Err: errors.New("two: no connection")}
			time.Sleep(time.Until(at.Add(row.age)))
			synctest.Wait()
			if !strings.Contains(s.tables.last(), "epoch 1, primary pg1") || !strings.Contains(s.tables.last(), row.grade) {
				t.Errorf("after %v: %s, want %s", row.age, s.tables.last(), row.grade)
			}
		}
		s.news()
		if !strings.Contains(s.tables.last(), "FRESH") {
			t.Errorf("news again: %s", s.tables.last())
		}
		if lost, found := s.logs.FilterMessage("no news from etcd: the routes stay as they are").Len(), s.logs.FilterMessage("news from etcd again").Len(); lost != 2 || found != 1 {
			t.Errorf("trouble of two members logged %d times, its end %d times, want twice and once", lost, found)
		}
	})
}

// TestControlTellsWhyNoProbeGetsIn: once for each node, with the key to look at,
// however often the node says it.
func TestControlTellsWhyNoProbeGetsIn(t *testing.T) {
	play(t, func(t *testing.T, s *stage) {
		s.servers.refusal = wire.Fatal(wire.CodeInvalidPassword, `password authentication failed for user "pgvip"`, "")
		s.news()
		s.pass(time.Minute)
		alarms := s.logs.FilterMessage("alarm").All()
		if len(alarms) != 2 {
			t.Fatalf("%d alarms in a minute, want one for each of two nodes", len(alarms))
		}
		reason, _ := alarms[0].ContextMap()["reason"].(string)
		for _, want := range []string{": probe login: ", "password authentication failed", "28P01", "check probe.user, probe.password"} {
			if !strings.Contains(reason, want) {
				t.Errorf("reason %q lacks %q", reason, want)
			}
		}
	})
}

// TestControlIsQuiet: what has not changed is neither published nor logged.
func TestControlIsQuiet(t *testing.T) {
	play(t, func(t *testing.T, s *stage) {
		s.news()
		tables, lines, events := s.tables.count(), s.logs.Len(), len(s.control.record.history())
		s.pass(time.Minute)
		if got := s.tables.count(); got != tables {
			t.Errorf("%d more tables in a quiet minute", got-tables)
		}
		if got := s.logs.Len(); got != lines || len(s.control.record.history()) != events {
			t.Errorf("%d more log lines in a quiet minute", got-lines)
		}
		for range 2 * maxEvents {
			s.topo.Members[1].NoLoadBalance = !s.topo.Members[1].NoLoadBalance
			s.news()
		}
		if got := len(s.control.record.history()); got != maxEvents {
			t.Errorf("%d events kept, want %d", got, maxEvents)
		}
	})
}
