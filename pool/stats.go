package pool

import (
	"context"
	"net/netip"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/stats"
	"github.com/pgvip/pgvip/tlsconf"
)

// tally is what a pool counts. It belongs to the pool's loop: plain additions, and
// the time of the loop's turn, which was read anyway.
type tally struct {
	traffic stats.Traffic
	query   stats.Histogram
	xact    stats.Histogram
	wait    stats.Histogram
}

func (y *tally) totals() *Totals { return &Totals{y.traffic, y.query, y.xact, y.wait} }

// meter times what a client asks of one server.
type meter struct {
	query   time.Time // when the request began that runs, or the last one did
	xact    time.Time // when its transaction did
	running bool      // replies are still to come
	first   bool      // nothing has been answered yet since the server was lent
}

// sent notes a message of the client's.
func (m *meter) sent(typ byte, status byte, now time.Time) {
	if m.running || typ == 'H' || typ == 'd' || typ == 'c' || typ == 'f' {
		return
	}
	m.running = true
	m.query = now
	if status == 'I' {
		m.xact = now
	}
}

// ready notes a ReadyForQuery for the client; more says that it is not the last.
func (m *meter) ready(y *tally, status byte, more bool, now time.Time) {
	m.first = false
	if !m.running {
		return
	}
	took := now.Sub(m.query)
	y.traffic.Queries++
	y.traffic.QueryTime += took
	y.query.Observe(took)
	if status == 'I' {
		took = now.Sub(m.xact)
		y.traffic.Xacts++
		y.traffic.XactTime += took
		y.xact.Observe(took)
		m.xact = now
	}
	if more {
		m.query = now
	}
	m.running = more
}

// assigned notes that a server was lent to a client that has waited since.
func (y *tally) assigned(waited time.Duration) {
	y.traffic.Assignments++
	y.traffic.WaitTime += waited
	y.wait.Observe(waited)
}

// register makes a pool one of those that Stats knows, until it has ended and was
// counted for the last time. The caller holds mu.
func (t *Set) register(p *Pool) {
	p.paused = t.gates.holds(p.key.Database)
	t.every[p] = struct{}{}
}

// lives reports whether the pool is still to be had. The caller holds mu.
func (t *Set) lives(p *Pool) bool {
	_, private := t.private[p]
	return private || t.pools[p.key] == p
}

// Totals is what all pools of a database have counted, those that have ended
// included.
type Totals struct {
	Traffic stats.Traffic
	Query   stats.Histogram
	Xact    stats.Histogram
	Wait    stats.Histogram
}

func (t *Totals) add(o *Totals) {
	t.Traffic.Add(&o.Traffic)
	t.Query.Add(&o.Query)
	t.Xact.Add(&o.Xact)
	t.Wait.Add(&o.Wait)
}

// Place is where servers are, and whose clients they serve.
type Place struct{ Database, Node, Role string }

func (p *Pool) place() Place { return Place{p.key.Database, p.key.Node.Name, p.role.String()} }

// reading is what one pool says.
type reading struct {
	pool  *Pool
	tally tally
	empty bool // it has no servers, and nobody waits
}

// Traffic sums up by database what went through the pools.
func (t *Set) Traffic(ctx context.Context) (map[string]*Totals, error) {
	places, err := t.Volumes(ctx)
	if err != nil {
		return nil, err
	}
	totals := make(map[string]*Totals)
	for place, v := range places {
		sum(totals, place.Database).add(v)
	}
	return totals, nil
}

// Volumes tells the same for each server and role apart.
func (t *Set) Volumes(ctx context.Context) (map[Place]*Totals, error) {
	readings, err := loop.Collect(ctx, t.all(everyPool), (*Pool).Loop, func(p *Pool, list []reading) []reading {
		return append(list, reading{p, p.tally, p.open() == 0 && p.queue.size == 0})
	})
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	sums := make(map[Place]*Totals)
	for i := range readings {
		r := &readings[i]
		if _, known := t.every[r.pool]; !known {
			continue // somebody else has counted it for the last time meanwhile
		}
		into := sums
		if r.empty && !t.lives(r.pool) {
			into = t.past
			delete(t.every, r.pool)
			if r.tally.traffic.Assignments == 0 {
				continue // of a database that there is not: its name must not stay
			}
		}
		sum(into, r.pool.place()).add(r.tally.totals())
	}
	for place, v := range t.past {
		sum(sums, place).add(v)
	}
	return sums, nil
}

func everyPool(*Pool) bool { return true }

func sum[K comparable](sums map[K]*Totals, key K) *Totals {
	if sums[key] == nil {
		sums[key] = new(Totals)
	}
	return sums[key]
}

// Stats tells what each pool does now.
func (t *Set) Stats(ctx context.Context) ([]stats.Pool, error) {
	return loop.Collect(ctx, t.all(everyPool), (*Pool).Loop, func(p *Pool, list []stats.Pool) []stats.Pool {
		if p.retired && p.unused() {
			return list
		}
		return append(list, p.report())
	})
}

func (p *Pool) report() stats.Pool {
	r := stats.Pool{
		Node: p.key.Node.Name, Addr: p.key.Node.Addr, Role: p.role.String(), Database: p.key.Database, User: p.key.User,
		Mode: p.rules.Mode.String(), Idle: len(p.idle), Login: p.dialing, Waiting: p.queue.size, Reason: p.reason(),
	}
	for s := range p.servers {
		switch s.activity() {
		case active:
			r.Lent++
		case tested:
			r.Tested++
		}
		if s.cancelling {
			r.Canceling++
		}
		if s.cancelling && s.state != lent {
			r.Canceled++
		}
	}
	if w := p.queue.first; w != nil {
		r.MaxWait = p.loop.Now().Sub(w.since)
	}
	return r
}

// What a server does, in PgBouncer's words.
const (
	active = "active"
	tested = "tested"
)

func (s *Server) activity() string {
	switch s.state {
	case idle:
		return "idle"
	case lent:
		return active
	default:
		return tested
	}
}

// Servers tells what each server connection does now.
func (t *Set) Servers(ctx context.Context) ([]stats.Socket, error) {
	return loop.Collect(ctx, t.all(everyPool), (*Pool).Loop, func(p *Pool, list []stats.Socket) []stats.Socket {
		for s := range p.servers {
			list = append(list, s.report())
		}
		return list
	})
}

func (s *Server) report() stats.Socket {
	p := s.pool
	k := stats.Socket{
		ID: s.id, User: p.key.User, Database: p.key.Database, State: s.activity(), Node: p.key.Node.Name,
		Connected: s.created, Requested: s.meter.query, CloseNeeded: s.stale || p.paused || p.retired, PID: s.pid,
		AppName: s.parameter("application_name"), Unread: len(s.conn.Peek()), Unsent: s.conn.Queued(),
	}
	k.Addr, _ = netip.ParseAddrPort(p.key.Node.Addr)
	k.LocalAddr = s.local
	k.TLS = tlsconf.Describe(s.conn.TLS())
	if p.replication {
		k.Replication = "logical"
		if physical(p.params) {
			k.Replication = "physical"
		}
	}
	if s.known != nil {
		k.Prepared = s.known.Len()
	}
	if s.meter.running {
		k.Waited = p.loop.Now().Sub(s.meter.query)
	}
	// A borrower of which nothing is known is one of a test.
	if b, ok := s.borrower.(interface{ ID() uint64 }); ok {
		k.Link = b.ID()
	}
	return k
}

// parameter is a reported parameter's value.
func (s *Server) parameter(name string) string {
	for i := range s.reported {
		if s.reported[i].Name == name {
			return s.reported[i].Value
		}
	}
	return ""
}

// ApplicationName is application_name as the client knows it.
func (p *Profile) ApplicationName() string {
	name, _ := p.value("application_name")
	return name
}

// ID is unique among the servers of this process.
func (s *Server) ID() uint64 { return s.id }

// Requested is when the client's request began that runs or that ran last.
func (s *Server) Requested() (at time.Time, running bool) { return s.meter.query, s.meter.running }

// Times are when the client's request and its transaction began, of those that
// run or ran last. first says that none has been answered since the server was
// lent.
func (s *Server) Times() (request, xact time.Time, first bool) {
	return s.meter.query, s.meter.xact, s.meter.first
}

// String gives PgBouncer's word for the mode.
func (m Mode) String() string {
	return [...]string{"session", "transaction", "statement"}[m]
}

// localAddr is our end of a socket.
func localAddr(fd int) netip.AddrPort {
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}
	}
	switch a := name.(type) {
	case *syscall.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *syscall.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr), uint16(a.Port))
	}
	return netip.AddrPort{}
}
