package health

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
)

// prober asks one node at one address.
type prober struct {
	// Immutable after startLocked.
	cfg    *Config
	addr   string
	report func() // tells the monitor that there is news
	trail  *lagMeter
	cancel context.CancelFunc
	wake   chan struct{} // holds one token when the next probe must not wait

	// Owned by run.
	conn       Conn      // nil when there is none
	looked     time.Time // at the crowd
	recovering bool      // by the last answer

	mu      sync.Mutex
	verdict verdict   // guarded by mu
	pace    Pace      // guarded by mu
	api     string    // guarded by mu; Patroni's REST interface, scheme://host:port
	urgent  time.Time // guarded by mu; since when pace is Urgent
	seen    time.Time // guarded by mu; when others last saw the node answer
}

func newProber(cfg *Config, addr string, report func(), trail *lagMeter, past route.NodeHealth) *prober {
	return &prober{
		cfg: cfg, addr: addr, report: report, trail: trail,
		wake: make(chan struct{}, 1), // one token says "now", however often
		verdict: verdict{health: route.NodeHealth{
			Addr: addr, Check: checkInit, Rise: cfg.Rise, Fall: cfg.Fall,
			Failures: past.Failures, Downs: past.Downs, Downtime: past.Downtime,
		}},
	}
}

// run probes until ctx ends.
func (p *prober) run(ctx context.Context) {
	defer p.hangUp()
	for ctx.Err() == nil {
		began := time.Now()
		kind := p.kind()
		var a answer
		var err error
		if kind == BySQL {
			a, err = p.probe(ctx)
		} else {
			err = p.look(ctx, kind)
		}
		if ctx.Err() != nil {
			return // the fault, if any, is our own leaving
		}
		p.note(kind, a, err, began)
		p.report()
		if err == nil && kind == BySQL {
			p.countCrowd(ctx, a)
		}
		p.wait(ctx, began)
	}
}

// kind says how the node is checked now: who leads, or may lead in a moment, is
// asked by SQL, for nothing else is proof.
func (p *prober) kind() Check {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pace != Steady {
		return BySQL
	}
	return p.cfg.Check
}

// look checks without SQL.
func (p *prober) look(ctx context.Context, kind Check) error {
	p.hangUp() // left from when the node was asked by SQL
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	if kind == ByTCP {
		return askTCP(ctx, p.cfg.Connect, p.addr)
	}
	p.mu.Lock()
	base := p.api
	p.mu.Unlock()
	return askREST(ctx, p.cfg.Get, base)
}

// probe asks once, on the kept connection if there is one. That one may have
// ended long ago without a word, so its end is no verdict: a login is tried.
func (p *prober) probe(ctx context.Context) (answer, error) {
	if p.conn != nil {
		a, err := p.ask(ctx)
		if o := classify(err); o != broken {
			return a, err
		}
	}
	loginCtx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	conn, err := p.cfg.Login(loginCtx, p.addr)
	if err != nil {
		return answer{}, fmt.Errorf("probe login: %w", err)
	}
	p.conn = conn
	return p.ask(ctx)
}

// ask puts the question. After any error the connection is given up: what the
// node was about to say would be taken for the answer to the next question.
func (p *prober) ask(ctx context.Context) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	asked := time.Now()
	rows, err := p.conn.Query(ctx, question)
	if err != nil {
		p.hangUp()
		return answer{}, fmt.Errorf("probe: %w", err)
	}
	a, err := parseAnswer(rows)
	a.asked = asked
	return a, err
}

func (p *prober) hangUp() {
	if p.conn != nil {
		_ = p.conn.Close() // nothing is owed to the node
		p.conn = nil
	}
}

// note feeds the verdict.
func (p *prober) note(kind Check, a answer, err error, began time.Time) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.verdict.health
	h.LastCheck, h.Took = now, now.Sub(began)
	h.Check, h.Code = words(kind, err)
	lim := p.limitsLocked()
	if err == nil {
		if kind != BySQL {
			p.verdict.alive(lim, now)
		} else {
			p.verdict.answer(a, lim, now)
			p.trail.measure(h, p.pace == Leader, now)
		}
		h.Report = h.Sketch()
		return
	}
	h.Report = err.Error()
	o := classify(err)
	if kind == ByREST {
		o = declined
	}
	if (o == silent || o == broken) && p.seen.After(began) {
		// Rule 25: a server connection that answers outweighs a failing probe.
		p.verdict.health.Err = err.Error()
		return
	}
	p.verdict.fault(o, err, lim, now)
}

func (p *prober) limitsLocked() limits {
	if p.pace == Steady {
		return limits{rise: p.cfg.Rise, fall: p.cfg.Fall}
	}
	return limits{rise: 1, fall: p.cfg.Fall}
}

// wait lets the interval since began pass, or a reason not to wait come up. A
// thousand refused clients are one reason: the urgent pace is never exceeded.
func (p *prober) wait(ctx context.Context, began time.Time) {
	t := time.NewTimer(time.Until(began.Add(p.cfg.Urgent)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
		return
	}
	t.Reset(time.Until(began.Add(p.interval())))
	select {
	case <-t.C:
	case <-p.wake:
	case <-ctx.Done():
	}
}

// urgentFor is how long a candidate is probed at full pace: a promotion takes
// 0.2 s as a rule. One that needs longer writes a log line per login that it
// refuses, and is asked at a third of the pace.
const urgentFor = 10 * time.Second

func (p *prober) interval() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := &p.verdict.health
	open := h.Err != "" && !h.CheckError && h.State != route.Down ||
		h.State == route.Down && p.verdict.answers > 0
	switch {
	case p.pace == Urgent && !h.CheckError && time.Since(p.urgent) < urgentFor:
		return p.cfg.Urgent
	case p.pace == Urgent && !h.CheckError:
		return min(3*p.cfg.Urgent, p.cfg.Inter)
	case open:
		return min(p.cfg.FastInter, p.cfg.Inter)
	case h.State == route.Down:
		return p.cfg.DownInter
	case p.pace == Leader || p.pace == Urgent:
		return p.cfg.Leader
	default:
		return p.cfg.Inter
	}
}

// setPace changes the pace, and where Patroni is asked; a closer pace takes effect
// at once.
func (p *prober) setPace(pace Pace, api string) {
	p.mu.Lock()
	p.api = api
	closer := pace > p.pace
	if pace == Urgent && closer {
		p.urgent = time.Now()
	}
	p.pace = pace
	p.mu.Unlock()
	if closer {
		p.poke()
	}
}

func (p *prober) poke() {
	select {
	case p.wake <- struct{}{}:
	default: // already about to
	}
}

// last gives a copy of the last word.
func (p *prober) last() route.NodeHealth {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.verdict.health
}

// observe takes what somebody else saw. What is older than our own last answer
// is no news.
func (p *prober) observe(o route.Observation) {
	p.mu.Lock()
	if !o.At.After(p.verdict.health.AskedAt) {
		p.mu.Unlock()
		return
	}
	now, news := time.Now(), true
	h := &p.verdict.health
	switch {
	case o.Kind == route.SawAnswer, o.Kind == route.SawWritable && h.State == route.Up && h.Writable:
		// What is known already; every login of a pool says it.
		p.seen, p.verdict.silence, news = now, 0, false
	case o.Kind == route.SawRecovery:
		h.InRecovery, h.Writable = true, false
	case o.Kind == route.SawRefused:
		p.verdict.fault(refused, fmt.Errorf("server login: %w", o.Err), p.limitsLocked(), now)
	case o.Kind == route.SawWritable, o.Kind == route.SawBroken:
		// Neither is a verdict: timeline and system identifier are still to be
		// asked for, and a connection may end for many reasons.
	default:
		panic("BUG: observation of kind " + o.Kind.String())
	}
	p.mu.Unlock()
	if news {
		p.report()
		p.poke()
	}
}
