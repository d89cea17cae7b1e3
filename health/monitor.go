package health

import (
	"context"
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
)

// Config says how often nodes are asked. Login is required; the zero value of
// the rest means the default.
type Config struct {
	Login Login

	Check   Check   // of replicas; default BySQL
	Connect Connect // required with ByTCP
	Get     Get     // required with ByREST

	Inter     time.Duration // between probes of a node; default 2s
	FastInter time.Duration // after a fault or a change, as long as a verdict is open; default 500ms
	Leader    time.Duration // between probes of the leader; default 1s
	Urgent    time.Duration // between probes of a node that may become the primary; default 20ms
	DownInter time.Duration // between probes of a node that is down; default Inter
	Timeout   time.Duration // of a login, and of a question; default 1s
	// Crowd is told how many connections a node has and may have. It is called by
	// the probers and must not block; may be nil.
	Crowd func(addr string, c Crowd)

	Rise int // answers until a node that was down is up; default 2
	Fall int // silences until a node is down; default 3
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d <= 0 {
			*d = def
		}
	}
	set(&c.Inter, 2*time.Second)
	set(&c.FastInter, 500*time.Millisecond)
	set(&c.Leader, time.Second)
	set(&c.Urgent, 20*time.Millisecond)
	set(&c.DownInter, c.Inter)
	set(&c.Timeout, time.Second)
	if c.Rise <= 0 {
		c.Rise = 2
	}
	if c.Fall <= 0 {
		c.Fall = 3
	}
	return c
}

// Pace is how closely a node is watched.
type Pace int

// The three paces.
const (
	Steady Pace = iota // a replica
	Leader             // the primary
	Urgent             // a node whose next answer may make it the primary
)

// Target is one node to probe.
type Target struct {
	Name string
	Addr string // host:port
	API  string // scheme://host:port of Patroni's REST interface; may be empty
	Pace Pace
}

// Monitor probes a set of nodes, each on a goroutine of its own, so that a
// frozen one delays no other. Use NewMonitor, then Close.
type Monitor struct {
	// Immutable after NewMonitor.
	cfg     Config
	changed chan struct{} // holds one token while there is unread news; never closed
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup

	trail *lagMeter

	mu      sync.Mutex
	probers map[string]*prober          // guarded by mu; by node name
	past    map[string]route.NodeHealth // guarded by mu; the last word on who is not probed now
}

// NewMonitor makes a monitor of no nodes.
func NewMonitor(cfg Config) *Monitor {
	m := &Monitor{
		cfg:     cfg.withDefaults(),
		changed: make(chan struct{}, 1), // one token says "look again", however often
		probers: make(map[string]*prober),
		past:    make(map[string]route.NodeHealth),
	}
	m.trail = &lagMeter{patience: m.cfg.patience()}
	// The probers' life is the monitor's, not that of any call.
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Changed gives a channel that holds a token when Health has news.
func (m *Monitor) Changed() <-chan struct{} { return m.changed }

// Watch sets the nodes to probe: new ones are probed at once, missing ones are
// forgotten, and a closer pace takes effect at once. After Close it does nothing.
func (m *Monitor) Watch(targets []Target) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.ctx.Err() != nil {
		return
	}
	wanted := make(map[string]bool, len(targets))
	for _, t := range targets {
		wanted[t.Name] = true
		p := m.probers[t.Name]
		if p != nil && p.addr != t.Addr {
			m.endLocked(t.Name, p)
			p = nil
		}
		if p == nil {
			p = m.startLocked(t)
		}
		p.setPace(t.Pace, t.API)
	}
	for name, p := range m.probers {
		if !wanted[name] {
			m.endLocked(name, p)
			delete(m.probers, name)
		}
	}
}

func (m *Monitor) startLocked(t Target) *prober {
	p := newProber(&m.cfg, t.Addr, m.report, m.trail, m.past[t.Name])
	delete(m.past, t.Name)
	p.pace, p.api = t.Pace, t.API // before run: the first check is of the right kind
	if t.Pace == Urgent {
		p.urgent = time.Now()
	}
	m.probers[t.Name] = p
	ctx, cancel := context.WithCancel(m.ctx)
	p.cancel = cancel
	m.wg.Go(func() { p.run(ctx) })
	return p
}

// maxPast bounds the names that are remembered: where members come and go under
// ever new ones, the counts of the first are of no use.
const maxPast = 64

// endLocked stops a prober and keeps what it has counted, for when the node is
// probed again.
func (m *Monitor) endLocked(name string, p *prober) {
	p.cancel()
	if len(m.past) >= maxPast {
		clear(m.past)
	}
	last := p.last()
	if last.State == route.Down {
		last.Downtime += time.Since(last.Since)
	}
	m.past[name] = last
}

func (m *Monitor) report() {
	select {
	case m.changed <- struct{}{}:
	default: // the token that is there speaks for this news too
	}
}

// Health gives a copy of the last word on every node.
func (m *Monitor) Health() route.Health {
	m.mu.Lock()
	defer m.mu.Unlock()
	health := make(route.Health, len(m.probers))
	for name, p := range m.probers {
		health[name] = p.last()
	}
	return health
}

// Observe takes what somebody else saw of a node. Safe from any goroutine, never
// blocks on the network.
func (m *Monitor) Observe(o route.Observation) {
	m.mu.Lock()
	p := m.probers[o.Node.Name]
	m.mu.Unlock()
	if p != nil && p.addr == o.Node.Addr {
		p.observe(o)
	}
}

// Close stops all probes and closes their connections.
func (m *Monitor) Close() {
	m.mu.Lock()
	m.cancel()
	m.mu.Unlock()
	m.wg.Wait()
}
