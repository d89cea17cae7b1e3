package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/internal/lab"
)

const (
	stormClients = 5000
	// stormPerAddress keeps the ports of one client address from running out.
	stormPerAddress = 1000
	stormTimeout    = 3 * time.Minute
	// stormPool asks for more servers than PostgreSQL has (max_connections 120).
	stormPool = 200
)

// storm crashes the primary under 5,000 clients, all of which connect again at
// once and want an answer.
func storm(ctx context.Context, r *Rig, s *Scenario) ([]*Result, error) {
	var results []*Result
	for _, mode := range r.opt.Modes {
		if results != nil {
			if err := r.heal(ctx, nil); err != nil {
				return results, err
			}
		}
		result, err := r.stormOf(ctx, s, mode)
		if result != nil {
			results = append(results, result)
		}
		if err != nil {
			return results, err
		}
	}
	return results, nil
}

func (r *Rig) stormOf(ctx context.Context, s *Scenario, mode string) (*Result, error) {
	f, err := r.newPgvip(ctx, "storm-"+mode, mode, spareHost, settings{
		"auth_type": "trust", "default_pool_size": fmt.Sprint(stormPool), "client_login_timeout": "180s",
	})
	if err != nil {
		return nil, err
	}
	defer f.process.Close()
	crowd := &stormCrowd{rig: r, front: f}
	if err := crowd.awaitServing(ctx); err != nil {
		return nil, err
	}
	f.ledger.begin()
	if err := crowd.connect(ctx); err != nil {
		crowd.hangUp()
		return nil, fmt.Errorf("first connections: %w", err)
	}
	leader, err := r.lab.Leader(ctx)
	if err != nil {
		return nil, err
	}
	run, err := r.newRun(ctx, s)
	if err != nil {
		return nil, err
	}
	r.prober.forget()
	run.began = time.Now()
	if err := leader.Crash(); err != nil {
		return nil, err
	}
	run.down = time.Now()
	crowd.hangUp()
	crowd.again(ctx)
	run.over = time.Now()
	// It keeps all servers that PostgreSQL has, and others want some.
	if err := errors.Join(end(f.process), r.heal(ctx, nil)); err != nil {
		return nil, err
	}
	return crowd.judge(ctx, run, s, mode)
}

// stormCrowd is the clients of the storm.
type stormCrowd struct {
	rig   *Rig
	front *front
	conns []net.Conn

	mu     sync.Mutex
	served []time.Time // guarded by mu
	errs   []failure   // guarded by mu
}

func (c *stormCrowd) account() load.Account {
	return load.Account{User: lab.TrustUser, Database: lab.AppDatabase}
}

func (c *stormCrowd) dialer(i int) *net.Dialer {
	host := c.rig.lab.Host(20 + i/stormPerAddress)
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}
}

// awaitServing waits until a statement passes through.
func (c *stormCrowd) awaitServing(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resumeTimeout)
	defer cancel()
	for {
		err := load.Ping(ctx, c.front.primary, c.account())
		if err == nil {
			return nil
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return err
		}
	}
}

// connect logs all clients in, some at a time.
func (c *stormCrowd) connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, stormTimeout)
	defer cancel()
	c.conns = make([]net.Conn, stormClients)
	errs := make([]error, stormClients)
	var group sync.WaitGroup
	slots := make(chan struct{}, 100) // logins under way
	for i := range stormClients {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			c.conns[i], errs[i] = load.Login(ctx, c.dialer(i), c.front.primary, c.account())
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func (c *stormCrowd) hangUp() {
	for _, conn := range c.conns {
		if conn != nil {
			conn.Close()
		}
	}
}

// again lets all clients connect at one moment and write.
func (c *stormCrowd) again(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stormTimeout)
	defer cancel()
	var group sync.WaitGroup
	for i := range stormClients {
		group.Go(func() { c.write(ctx, i) })
	}
	group.Wait()
}

// write is one client: a login, an INSERT, the end.
func (c *stormCrowd) write(ctx context.Context, i int) {
	id := c.front.ledger.next()
	began := time.Now()
	sql := fmt.Sprintf("INSERT INTO failover_ledger VALUES ('%s', %d)", c.front.name, id)
	err := load.Exec(ctx, c.dialer(i), c.front.primary, c.account(), sql)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.errs = append(c.errs, failure{kind: newcomer, connect: true, began: began, ended: now, class: stormClass(err), text: err.Error()})
		return
	}
	c.front.ledger.ack(id)
	c.served = append(c.served, now)
}

// judge makes the line: nobody may get an error, for nobody was in flight.
func (c *stormCrowd) judge(ctx context.Context, run *run, s *Scenario, mode string) (*Result, error) {
	result := &Result{Scenario: s.Number, Name: s.Name, Mode: mode, Errors: len(c.errs)}
	floor := c.rig.prober.floor(run.began, run.over, nil)
	result.Floor = floor.length()
	stored, err := c.rig.stored(ctx, c.front)
	if err != nil {
		return nil, err
	}
	result.Lost, result.Duplicated = c.front.ledger.compare(stored)
	slices.SortFunc(c.served, time.Time.Compare)
	result.more("clients", stormClients)
	result.more("served", len(c.served))
	result.more("errors", classes(c.errs))
	if n := len(c.served); n > 0 {
		// Since the database could: before that all had to wait.
		result.Outage = c.served[0].Sub(run.down)
		result.more("first_ms", c.served[0].Sub(floor.to).Milliseconds())
		result.more("p50_ms", c.served[n/2].Sub(floor.to).Milliseconds())
		result.more("p99_ms", c.served[n*99/100].Sub(floor.to).Milliseconds())
		result.more("last_ms", c.served[n-1].Sub(floor.to).Milliseconds())
	}
	if len(c.errs) > 0 {
		result.fall("%d clients got errors, e.g. %s", len(c.errs), c.errs[0].text)
	}
	if result.Lost > 0 || result.Duplicated > 0 {
		result.fall("%d writes are lost, %d duplicated", result.Lost, result.Duplicated)
	}
	return result, nil
}

// stormClass is classOf for the light client, which has errors of its own.
func stormClass(err error) string {
	if code := load.SQLState(err); code != "" {
		return code
	}
	if errors.Is(err, io.EOF) {
		return classClosed
	}
	return classOf(err)
}
