package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// patroni is a scripted REST interface, and a scripted port.
type patroni struct {
	mu     sync.Mutex
	status int
	body   string
	err    error
	urls   []string
}

func (p *patroni) set(status int, body string, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body, p.err = status, body, err
}

func (p *patroni) Get(ctx context.Context, url string) (int, []byte, error) {
	p.mu.Lock()
	p.urls = append(p.urls, url)
	status, body, err := p.status, p.body, p.err
	p.mu.Unlock()
	return status, []byte(body), word(ctx, err)
}

func (p *patroni) Connect(ctx context.Context, network, addr string) (net.Conn, error) {
	p.mu.Lock()
	p.urls = append(p.urls, network+" "+addr)
	err := p.err
	p.mu.Unlock()
	if err := word(ctx, err); err != nil {
		return nil, err
	}
	here, there := net.Pipe()
	there.Close()
	return here, nil
}

func (p *patroni) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.urls)
}

// check runs f with a monitor that checks pg1 in a way of its own.
func check(t *testing.T, kind Check, f func(*testing.T, *Monitor, *node, *patroni)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		n, p := replica(), &patroni{status: http.StatusOK}
		m := NewMonitor(Config{Check: kind, Get: p.Get, Connect: p.Connect, Login: n.Login, Rise: 2, Fall: 3})
		watchREST(m, Steady)
		synctest.Wait()
		f(t, m, n, p)
		m.Close()
		if n.open != 0 {
			t.Errorf("%d connections left open", n.open)
		}
	})
}

func watchREST(m *Monitor, pace Pace) {
	m.Watch([]Target{{Name: "pg1", Addr: "pg1:5432", API: "http://pg1:8008", Pace: pace}})
}

// TestRESTCheck: Patroni's no takes a replica out after fall of them, and never
// calls it dead; its yes brings it in after rise.
func TestRESTCheck(t *testing.T) {
	check(t, ByREST, func(t *testing.T, m *Monitor, n *node, p *patroni) {
		h := m.pg1()
		if h.State != route.Up || h.Check != "L7OK" || h.Code != 200 || h.Writable || h.InRecovery || n.dialed() != 0 {
			t.Fatalf("200: %+v, %d logins", h, n.dialed())
		}
		if p.urls[0] != "http://pg1:8008/replica" {
			t.Errorf("asked %q", p.urls[0])
		}
		p.set(503, `{"state":"running","role":"master"}`, nil)
		after(2*time.Second + 500*time.Millisecond) // inter, then fastinter
		if h = m.pg1(); h.State != route.Up || h.Rated != 3-1 || h.Check != "L7STS" || h.Code != 503 {
			t.Errorf("503 twice: %+v", h)
		}
		after(500 * time.Millisecond)
		want := "patroni: status 503 for /replica (role master, state running)"
		if h = m.pg1(); h.State != route.Down || h.Dead || h.Err != want || h.Failures != 3 || h.Downs != 1 {
			t.Errorf("503 three times: %+v, want down, not dead, and %q", h, want)
		}
		p.set(200, "", nil)
		after(2*time.Second + 500*time.Millisecond)
		if h = m.pg1(); h.State != route.Up || h.Downtime != 2500*time.Millisecond {
			t.Errorf("200 twice: %+v", h)
		}
	})
}

// TestRESTRefusal: that Patroni is not there says nothing of PostgreSQL.
func TestRESTRefusal(t *testing.T) {
	for _, err := range []error{&net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, errSilence} {
		check(t, ByREST, func(t *testing.T, m *Monitor, _ *node, p *patroni) {
			p.set(0, "", err)
			after(2 * time.Second)
			if h := m.pg1(); h.State != route.Up {
				t.Errorf("%v once: %+v", err, h)
			}
			after(5 * time.Second)
			if h := m.pg1(); h.State != route.Down || h.Dead {
				t.Errorf("%v: %+v, want down, not dead", err, h)
			}
		})
	}
}

// TestTCPCheck: a port that refuses is death, as with SQL.
func TestTCPCheck(t *testing.T) {
	check(t, ByTCP, func(t *testing.T, m *Monitor, n *node, p *patroni) {
		if h := m.pg1(); h.State != route.Up || h.Check != "L4OK" || h.Report != "alive" || n.dialed() != 0 || p.urls[0] != "tcp pg1:5432" {
			t.Fatalf("connected: %+v, %d logins, %q", h, n.dialed(), p.urls)
		}
		p.set(0, "", &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)})
		after(2 * time.Second)
		if h := m.pg1(); h.State != route.Down || !h.Dead || h.Check != "L4CON" {
			t.Errorf("refused: %+v", h)
		}
		p.set(0, "", nil)
		after(2*time.Second + 500*time.Millisecond)
		if h := m.pg1(); h.State != route.Up || h.Dead {
			t.Errorf("connected twice: %+v", h)
		}
	})
}

// TestLeaderIsAlwaysAskedBySQL: nothing else proves a primary, and what SQL has
// said of a former one is forgotten.
func TestLeaderIsAlwaysAskedBySQL(t *testing.T) {
	for _, kind := range []Check{ByREST, ByTCP} {
		check(t, kind, func(t *testing.T, m *Monitor, n *node, p *patroni) {
			n.promote()
			for _, pace := range []Pace{Leader, Urgent} {
				watchREST(m, pace)
				after(2 * time.Second)
				before := p.asked()
				after(2 * time.Second)
				if h := m.pg1(); !h.Writable || h.Timeline != 2 || p.asked() != before {
					t.Errorf("%v, pace %d: %+v, asked otherwise %d times", kind, pace, h, p.asked()-before)
				}
			}
			watchREST(m, Steady)
			after(4 * time.Second)
			if h := m.pg1(); h.Writable || h.Timeline != 0 || h.LSN != 0 || h.State != route.Up || n.open != 0 {
				t.Errorf("%v, steady again: %+v, %d connections", kind, h, n.open)
			}
		})
	}
}

// TestIntervals are HAProxy's: inter while the verdict is firm, fastinter while it
// is open, downinter when a node is down.
func TestIntervals(t *testing.T) {
	const inter, fast, down = 10 * time.Second, time.Second, 30 * time.Second
	cfg := Config{Inter: inter, FastInter: fast, DownInter: down, Timeout: 100 * time.Millisecond, Rise: 3, Fall: 3}
	n := replica()
	simulateWith(t, cfg, n, func(t *testing.T, m *Monitor) {
		steps := []struct {
			name  string
			login error // and query, from before the wait on
			wait  time.Duration
			state route.State
			rated int
		}{
			{"up stays up", nil, inter, route.Up, 5},
			{"one silence", errSilence, inter + 200*time.Millisecond, route.Up, 4},
			{"going down", errSilence, fast, route.Up, 3},
			{"down", errSilence, fast, route.Down, 0},
			{"down stays down", errSilence, down, route.Down, 0},
			{"one answer", nil, down, route.Down, 1},
			{"going up", nil, fast, route.Down, 2},
			{"up", nil, fast, route.Up, 5},
			{"up stays up again", nil, inter, route.Up, 5},
		}
		probes := n.asked() + n.dialed()
		for _, s := range steps {
			n.set(func(n *node) { n.login, n.query = s.login, s.login })
			after(s.wait)
			if h := m.pg1(); h.State != s.state || h.Rated != s.rated || h.Rise != 3 || h.Fall != 3 {
				t.Errorf("%s: %v %d/%d/%d, want %v %d", s.name, h.State, h.Rated, h.Rise, h.Fall, s.state, s.rated)
			}
			if now := n.asked() + n.dialed(); now == probes {
				t.Errorf("%s: no probe", s.name)
			} else {
				probes = now
			}
		}
		if h := m.pg1(); h.Failures != 3 || h.Downs != 1 || h.Downtime < down || h.Downtime > 2*down+3*fast {
			t.Errorf("counted %+v", h)
		}
	})
}

// TestCountsOutliveAProber: what was counted of a node stays with its name.
func TestCountsOutliveAProber(t *testing.T) {
	n := replica()
	simulate(t, n, func(t *testing.T, m *Monitor) {
		n.set(func(n *node) { n.login, n.query = syscall.ECONNREFUSED, io.EOF })
		after(2 * time.Second)
		m.Watch(nil) // maint
		after(time.Minute)
		n.set(func(n *node) { n.login, n.query = nil, nil })
		watch(m, Steady)
		synctest.Wait()
		if h := m.pg1(); h.State != route.Up || h.Downs != 1 || h.Failures != 1 {
			t.Errorf("watched again: %+v", h)
		}
	})
}

// TestWords are HAProxy's check_status.
func TestWords(t *testing.T) {
	pg := &wire.Error{Severity: wire.SeverityFatal, Code: "28P01", Message: "no"}
	rows := []struct {
		kind Check
		err  error
		word string
		code int
	}{
		{BySQL, nil, "L7OK", 0},
		{BySQL, fmt.Errorf("probe login: %w", pg), "L7STS", 0},
		{BySQL, &dial.Error{Op: dial.OpConnect, Err: syscall.ECONNREFUSED}, "L4CON", 0},
		{BySQL, &dial.Error{Op: dial.OpConnect, Err: context.DeadlineExceeded}, "L4TOUT", 0},
		{BySQL, &dial.Error{Op: dial.OpLogin, Err: context.DeadlineExceeded}, "L7TOUT", 0},
		{BySQL, &dial.Error{Op: dial.OpQuery, Err: io.ErrUnexpectedEOF}, "L7RSP", 0},
		{BySQL, dial.ErrProtocol, "L7RSP", 0},
		{BySQL, &dial.Error{Op: dial.OpConnect, Err: syscall.EMFILE}, "SOCKERR", 0},
		{BySQL, &dial.Error{Op: dial.OpConnect, Err: &net.DNSError{Err: "no such host"}}, "SOCKERR", 0},
		{ByREST, nil, "L7OK", 200},
		{ByREST, &declinedError{status: 503}, "L7STS", 503},
		{ByREST, context.DeadlineExceeded, "L7TOUT", 0},
		{ByTCP, nil, "L4OK", 0},
		{ByTCP, context.DeadlineExceeded, "L4TOUT", 0},
		{ByTCP, syscall.EHOSTUNREACH, "L4CON", 0},
		{ByREST, errors.New("patroni: the member key has no api_url"), "L7RSP", 0},
	}
	for _, row := range rows {
		if word, code := words(row.kind, row.err); word != row.word || code != row.code {
			t.Errorf("%v, %v: %s %d, want %s %d", row.kind, row.err, word, code, row.word, row.code)
		}
	}
}

// TestLagMeter: who measures whom.
func TestLagMeter(t *testing.T) {
	start := time.Unix(1000, 0)
	m := &lagMeter{patience: 5 * time.Second}
	primary := func(s int, timeline uint32, lsn uint64) *route.NodeHealth {
		h := &route.NodeHealth{Writable: true, SystemID: "7301", Timeline: timeline, LSN: lsn}
		m.measure(h, true, start.Add(time.Duration(s)*time.Second))
		return h
	}
	standby := func(s int, system string, lsn uint64) *route.NodeHealth {
		at := start.Add(time.Duration(s) * time.Second)
		h := &route.NodeHealth{InRecovery: true, SystemID: system, LSN: lsn, AskedAt: at}
		m.measure(h, false, at)
		return h
	}
	if h := standby(0, "7301", 1); h.LagKnown {
		t.Errorf("before the primary was heard: %+v", h)
	}
	primary(1, 1, 1000)
	primary(2, 1, 2000)
	if h := standby(2, "7301", 1500); !h.LagKnown || h.LagBytes != 500 || h.LagTime != 500*time.Millisecond {
		t.Errorf("measured: %+v", h)
	}
	if h := standby(2, "666", 1500); h.LagKnown {
		t.Errorf("another cluster's: %+v", h)
	}
	orphan := &route.NodeHealth{Writable: true, SystemID: "7301", Timeline: 1, LSN: 9000}
	m.measure(orphan, false, start.Add(3*time.Second))
	if h := standby(3, "7301", 2000); h.LagBytes != 0 || !h.LagKnown {
		t.Errorf("measured by a node that does not lead: %+v", h)
	}
	if h := standby(9, "7301", 1500); h.LagKnown {
		t.Errorf("the primary has been silent: %+v", h)
	}
	primary(10, 2, 1800) // promoted at 1700
	if h := standby(10, "7301", 1750); h.LagBytes != 50 || h.LagTime != 0 {
		t.Errorf("after a promotion: %+v, want nothing of the old timeline", h)
	}
}
