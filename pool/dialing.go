package pool

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// How a connection to PostgreSQL comes to be.

// Login logs in to a pool's server with the given run-time parameters on top of
// user and database. It blocks, first for a permit, which counts everywhere but
// in the size of the pool, then for a slot and on the network.
func (t *Set) Login(ctx context.Context, key Key, role route.Role, params []wire.Param) (*Conn, error) {
	p := t.Pool(key, role)
	if p.account == nil {
		return nil, errLeft
	}
	if err := p.permit(ctx); err != nil {
		return nil, err
	}
	return t.connect(ctx, p, params)
}

// connect logs in with a permit, which is given back after a failure. A login that
// is under way when the node is fenced is given up: nothing more goes there.
func (t *Set) connect(ctx context.Context, p *Pool, params []wire.Param) (*Conn, error) {
	ctx, leave := context.WithCancelCause(ctx)
	defer leave(nil)
	defer context.AfterFunc(p.fenced, func() { leave(errLeft) })()
	settings := t.settings.Load()
	rules := settings.rules(p.key)
	c := rules.Credential
	if !c.Opens() {
		c = t.credential(p.key.User)
	}
	conn, err := t.dial(ctx, settings, p.key, p.role, withDefaults(params, rules.Params), c)
	if err == nil && rules.ConnectQuery != "" {
		err = p.connectQuery(ctx, conn, rules.ConnectQuery)
	}
	if p.fenced.Err() != nil {
		if err == nil {
			conn.Close()
		}
		err = errLeft
	}
	if err != nil {
		p.hold().giveBack()
		return nil, err
	}
	return &Conn{conn, p.hold(), settings}, nil
}

// LoginAs logs in beside all pools and their limits, as a user of pgvip's own:
// that of auth_query. Nothing of a client's goes into it (CVE-2025-12819). Any
// node will do.
func (t *Set) LoginAs(ctx context.Context, key Key, c auth.Credential) (*dial.Conn, error) {
	return t.dial(ctx, t.settings.Load(), key, route.Replica, nil, c)
}

// dial makes sure, for a primary, that the node takes writes (rule 25).
func (t *Set) dial(
	ctx context.Context, settings *Settings, key Key, role route.Role, params []wire.Param, c auth.Credential,
) (*dial.Conn, error) {
	leave, err := t.berths.enter(ctx, key.Node.Addr)
	if err != nil {
		return nil, err
	}
	defer leave()
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	started := time.Now()
	ctx, cancel := limited(ctx, settings.ServerConnectTimeout)
	defer cancel()
	conn, err := dial.Login(ctx, &dial.Config{
		Network:    "tcp",
		Address:    key.Node.Addr,
		User:       key.User,
		Database:   settings.rules(key).Database,
		Params:     params,
		Credential: c,
		TLS:        settings.TLS,
		KeyCache:   t.keys,
		DialFunc:   t.open,
		Keepalive:  settings.Keepalive,

		MinIterations: settings.MinIterations,
	})
	if err == nil && role == route.Primary {
		err = provePrimary(ctx, conn, params)
	}
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		if !errors.Is(context.Cause(ctx), errLeft) { // that it was given up says nothing of the node
			t.observe(route.Observation{Node: key.Node, Kind: failureSeen(err), At: started, Err: err})
		}
		return nil, err
	}
	seen := route.SawAnswer
	if role == route.Primary {
		seen = route.SawWritable
	}
	t.observe(route.Observation{Node: key.Node, Kind: seen, At: started})
	return conn, nil
}

// provePrimary asks whether the node takes writes; PostgreSQL 14 and later have
// said so at login. For physical replication others need not be asked, nor could
// they: nothing can be written by it.
func provePrimary(ctx context.Context, conn *dial.Conn, params []wire.Param) error {
	recovery, ok := conn.Parameter("in_hot_standby")
	if !ok && physical(params) {
		return nil
	}
	if !ok {
		rows, err := conn.Query(ctx, "SELECT CASE WHEN pg_catalog.pg_is_in_recovery() THEN 'on' ELSE 'off' END")
		if err != nil {
			return fmt.Errorf("pg_is_in_recovery: %w", err)
		}
		recovery = firstText(rows)
	}
	if recovery != "off" {
		return ErrNotWritable
	}
	return nil
}

func (t *Set) loggedIn(key Key, role route.Role, params []wire.Param) {
	if t.news != nil {
		t.news(key, role, params)
	}
}

// firstText is the first column of the first row, empty if there is none.
func firstText(rows []dial.Row) string {
	if len(rows) == 0 || len(rows[0]) == 0 {
		return ""
	}
	return rows[0][0].Text
}

// failureSeen says what a failed login shows of the node. A server that refuses
// this user or database answers, and that is all it shows.
func failureSeen(err error) route.ObservationKind {
	var fatal *wire.Error
	switch {
	case errors.Is(err, ErrNotWritable):
		return route.SawRecovery
	case errors.Is(err, syscall.ECONNREFUSED):
		return route.SawRefused
	case errors.As(err, &fatal) && fatal.Code == wire.CodeCannotConnectNow:
		return route.SawRefused
	case errors.As(err, &fatal):
		return route.SawAnswer
	default:
		return route.SawBroken
	}
}

// observe passes on what was seen of a node. That we have no descriptor left is
// not the node's fault (rule 15).
func (t *Set) observe(o route.Observation) {
	if errors.Is(o.Err, syscall.EMFILE) || errors.Is(o.Err, syscall.ENFILE) {
		return
	}
	if t.observer != nil {
		t.observer(o)
	}
}
