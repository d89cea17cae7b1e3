package health

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// node is a scripted server for tests in simulated time.
type node struct {
	mu      sync.Mutex
	login   error // what a login gives; silence when it is errSilence
	query   error // what a query gives
	reply   []string
	logins  int
	queries []time.Time
	open    int
}

var errSilence = errors.New("silence")

func replica() *node { return &node{reply: []string{"t", "7301", "", "1", "", "", ""}} }

func (n *node) set(f func(*node)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f(n)
}

func (n *node) promote() {
	n.set(func(n *node) { n.reply = []string{"f", "7301", "00000002", "9", "", "", ""} })
}

func (n *node) asked() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.queries)
}

func (n *node) dialed() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.logins
}

// word gives err, after the silence that errSilence stands for.
func word(ctx context.Context, err error) error {
	if errors.Is(err, errSilence) {
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

func (n *node) Login(ctx context.Context, _ string) (Conn, error) {
	n.mu.Lock()
	n.logins++
	err := n.login
	n.mu.Unlock()
	if err := word(ctx, err); err != nil {
		return nil, err
	}
	n.set(func(n *node) { n.open++ })
	return n, nil
}

func (n *node) Query(ctx context.Context, _ string) ([][]string, error) {
	n.mu.Lock()
	n.queries = append(n.queries, time.Now())
	err, reply := n.query, slices.Clone(n.reply)
	n.mu.Unlock()
	return [][]string{reply}, word(ctx, err)
}

func (n *node) Close() error {
	n.set(func(n *node) { n.open-- })
	return nil
}

// simulate runs f with a monitor of one node named pg1 in simulated time.
func simulate(t *testing.T, n *node, f func(*testing.T, *Monitor)) {
	t.Helper()
	simulateWith(t, Config{}, n, f)
}

func simulateWith(t *testing.T, cfg Config, n *node, f func(*testing.T, *Monitor)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		cfg.Login = n.Login
		m := NewMonitor(cfg)
		watch(m, Steady)
		synctest.Wait()
		f(t, m)
		m.Close()
		if n.open != 0 {
			t.Errorf("%d connections left open", n.open)
		}
	})
}

func watch(m *Monitor, pace Pace) {
	m.Watch([]Target{{Name: "pg1", Addr: "pg1:5432", Pace: pace}})
}

func (m *Monitor) pg1() route.NodeHealth { return m.Health()["pg1"] }

// after lets time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func TestSteadyPace(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		if h := m.pg1(); h.State != route.Up || !h.InRecovery || h.Writable || h.SystemID != "7301" {
			t.Errorf("after the first probe: %+v", h)
		}
		after(10 * time.Second)
		if n.asked() != 6 || n.dialed() != 1 {
			t.Errorf("%d questions on %d connections in 10 s, want 6 on one", n.asked(), n.dialed())
		}
		watch(m, Leader)
		after(10 * time.Second)
		if got := n.asked(); got != 6+10 {
			t.Errorf("%d questions in 10 s as the leader, want one at once and 9 more", got-6)
		}
	})
}

// TestDownPace: a node that is down has an interval of its own, until its answers
// are counted.
func TestDownPace(t *testing.T) {
	n := replica()
	n.login = syscall.ECONNREFUSED
	simulateWith(t, Config{DownInter: 5 * time.Second, Rise: 3}, n, func(t *testing.T, m *Monitor) {
		after(20 * time.Second)
		if got := n.dialed(); got != 1+4 {
			t.Errorf("%d logins in 20 s of refusals, want 5", got)
		}
		n.set(func(n *node) { n.login = nil })
		after(5*time.Second + 2*500*time.Millisecond) // FastInter while a verdict is open
		if h := m.pg1(); h.State != route.Up || n.asked() != 3 {
			t.Errorf("%s after %d answers, want up after 3", h.State, n.asked())
		}
	})
}

// TestCandidateIsSeenInTime: the writable moment is seen within one urgent
// interval, wherever in the steady interval the key came.
func TestCandidateIsSeenInTime(t *testing.T) {
	for _, wait := range []time.Duration{0, 5 * time.Millisecond, time.Second, 1999 * time.Millisecond} {
		n := replica()
		simulate(t, n, func(t *testing.T, m *Monitor) {
			after(wait)
			watch(m, Urgent)
			after(203 * time.Millisecond)
			n.promote()
			after(20 * time.Millisecond)
			if h := m.pg1(); !h.Writable || h.Timeline != 2 {
				t.Errorf("key after %v: 20 ms after the promotion: %+v", wait, h)
			}
		})
	}
}

// TestUrgentPaceEnds: neither a slow promotion nor a node that is down for long
// is asked at full pace for ever, and a node that does not let the probe in is
// not asked at that pace at all.
func TestUrgentPaceEnds(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		watch(m, Urgent)
		after(10 * time.Second)
		early := n.asked()
		after(10 * time.Second)
		late := n.asked() - early
		if early < 490 || early > 510 || late < 160 || late > 170 {
			t.Errorf("%d questions in the first 10 s, %d in the next, want about 500 and 166", early, late)
		}
	})
	n = replica()
	n.login = &wire.Error{Severity: wire.SeverityFatal, Code: wire.CodeInvalidPassword, Message: "no"}
	simulate(t, n, func(t *testing.T, m *Monitor) {
		watch(m, Urgent)
		after(10 * time.Second)
		if n.dialed() > 13 {
			t.Errorf("%d logins with a wrong password in 10 s, want one a second", n.dialed())
		}
		if h := m.pg1(); h.State != route.Unprobed || !h.CheckError || h.Err != "probe login: FATAL: no (SQLSTATE 28P01)" {
			t.Errorf("got %+v", h)
		}
	})
}

// TestFrozenNode: silence is death after fall timeouts; each costs a connection.
func TestFrozenNode(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		n.set(func(n *node) { n.query, n.login = errSilence, errSilence })
		after(4900 * time.Millisecond) // probes at 2.0, 3.0 and 4.0 s, 1 s each
		if h := m.pg1(); h.State != route.Up || h.Err == "" {
			t.Errorf("before the third silence: %+v", h)
		}
		after(200 * time.Millisecond)
		if h := m.pg1(); h.State != route.Down || h.InRecovery != true {
			t.Errorf("after the third silence: %+v", h)
		}
		n.set(func(n *node) { n.query, n.login = nil, nil })
		after(4 * time.Second)
		if h := m.pg1(); h.State != route.Up {
			t.Errorf("thawed: %+v", h)
		}
	})
}

// TestLostConnection: the end of the kept connection is no verdict, the login
// after it is.
func TestLostConnection(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		n.set(func(n *node) { n.query = io.ErrUnexpectedEOF })
		after(time.Second)
		n.set(func(n *node) { n.query, n.login = io.EOF, syscall.ECONNREFUSED })
		after(1100 * time.Millisecond)
		if h := m.pg1(); h.State != route.Down {
			t.Errorf("closed and refused: %+v", h)
		}
	})
}

func TestObserve(t *testing.T) {
	rows := []struct {
		name  string
		kind  route.ObservationKind
		at    time.Duration // of the observation, after the last answer
		state route.State
		probe bool // a probe follows at once
	}{
		{"refused", route.SawRefused, time.Millisecond, route.Down, true},
		{"refused before our answer", route.SawRefused, -time.Millisecond, route.Up, false},
		{"recovery", route.SawRecovery, time.Millisecond, route.Up, true},
		{"writable, as we know", route.SawWritable, time.Millisecond, route.Up, false},
		{"broken", route.SawBroken, time.Millisecond, route.Up, true},
		{"answer", route.SawAnswer, time.Millisecond, route.Up, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			n := replica()
			n.promote()
			simulate(t, n, func(t *testing.T, m *Monitor) {
				after(500 * time.Millisecond)
				// Kept from answering, so that the observation alone decides.
				n.set(func(n *node) { n.query, n.login = errSilence, errSilence })
				asked := m.pg1().AskedAt
				m.Observe(route.Observation{
					Node: &route.Node{Name: "pg1", Addr: "pg1:5432"}, Kind: row.kind,
					At: asked.Add(row.at), Err: errors.New("connection refused"),
				})
				synctest.Wait()
				h := m.pg1()
				if h.State != row.state || h.Writable != (row.kind != route.SawRecovery) {
					t.Errorf("got %+v, want %v", h, row.state)
				}
				if got := n.asked() > 1; got != row.probe {
					t.Errorf("probed at once: %v, want %v", got, row.probe)
				}
			})
		})
	}
}

// TestSawWritable: a pool's login may see the promotion before the probe does.
func TestSawWritable(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		after(500 * time.Millisecond)
		n.promote()
		m.Observe(route.Observation{Node: &route.Node{Name: "pg1", Addr: "pg1:5432"}, Kind: route.SawWritable, At: time.Now()})
		synctest.Wait()
		if h := m.pg1(); !h.Writable || h.Timeline != 2 {
			t.Errorf("got %+v, want the probe's own answer at once", h)
		}
	})
}

// TestTrafficOutweighsProbes: rule 25, a server connection that answers is proof;
// a failing probe does not stop it.
func TestTrafficOutweighsProbes(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		n.set(func(n *node) { n.query, n.login = errSilence, errSilence })
		for range 100 {
			after(500 * time.Millisecond)
			m.Observe(route.Observation{Node: &route.Node{Name: "pg1", Addr: "pg1:5432"}, Kind: route.SawAnswer, At: time.Now()})
		}
		if h := m.pg1(); h.State != route.Up {
			t.Errorf("answering traffic, failing probes: %+v", h)
		}
		after(10 * time.Second)
		if h := m.pg1(); h.State != route.Down {
			t.Errorf("no traffic any more: %+v", h)
		}
	})
}

// TestStormOfObservations: a thousand refused clients do not make a thousand probes.
func TestStormOfObservations(t *testing.T) {
	n := replica()
	n.login = syscall.ECONNREFUSED
	simulate(t, n, func(t *testing.T, m *Monitor) {
		for range 1000 {
			m.Observe(route.Observation{
				Node: &route.Node{Name: "pg1", Addr: "pg1:5432"}, Kind: route.SawRefused, At: time.Now().Add(time.Second), Err: syscall.ECONNREFUSED,
			})
			after(time.Millisecond)
		}
		if n.dialed() > 52 {
			t.Errorf("%d probes in a second, want at most one per 20 ms", n.dialed())
		}
	})
}

func TestWatchForgetsAndMoves(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		m.Watch([]Target{{Name: "pg1", Addr: "elsewhere:5432"}})
		synctest.Wait()
		if h := m.pg1(); h.Addr != "elsewhere:5432" || n.dialed() != 2 || n.open != 1 {
			t.Errorf("moved: %+v, %d logins, %d open", h, n.dialed(), n.open)
		}
		m.Watch(nil)
		synctest.Wait()
		if got := m.Health(); len(got) != 0 || n.open != 0 {
			t.Errorf("forgotten: %+v, %d open", got, n.open)
		}
		m.Observe(route.Observation{Node: &route.Node{Name: "pg1"}, Kind: route.SawRefused, At: time.Now()})
	})
}
