package main

import (
	"fmt"
	"maps"
	"slices"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/route"
)

// Again has the routes decided again: something else than news of the cluster
// has changed. Any goroutine may call it.
func (c *control) Again() {
	select {
	case c.again <- struct{}{}:
	default: // the token that is there speaks for this change too
	}
}

// SetAdmin is an operator's word about a server. It counts until the next one,
// or until pgvip ends: a reload leaves it, and so does the server's leaving the
// cluster for a while. Any goroutine may call it.
func (c *control) SetAdmin(name string, state route.AdminState) error {
	c.mu.Lock()
	was, said := c.admin[name]
	if !said && !slices.Contains(c.known, name) {
		c.mu.Unlock()
		return fmt.Errorf("%w: %s", console.ErrNoServer, name)
	}
	next := maps.Clone(c.admin)
	if next == nil {
		next = make(map[string]route.AdminState)
	}
	if state == route.Ready {
		delete(next, name)
	} else {
		next[name] = state
	}
	c.admin = next
	c.mu.Unlock()
	if was != state {
		c.log.Info("server set by an operator", zap.String("server", name), zap.Stringer("was", was), zap.Stringer("state", state))
	}
	c.Again()
	return nil
}

// Admin is what operators want of servers; a server that is not in it is ready.
// The map is not changed afterwards.
func (c *control) Admin() map[string]route.AdminState {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.admin
}

// remember notes whom SetAdmin may speak of.
func (c *control) remember(t *route.Table) {
	names := make([]string, len(t.Nodes))
	for i, n := range t.Nodes {
		names[i] = n.Name
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = names
}
