package pool

import (
	"context"

	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// Replication makes a pool for one client of the replication protocol. Its server
// logs in with params and is the client's for good. It counts in no limit, since a
// standby must not wait for applications; and because a stream has no end at which
// it could be moved, it is lost at once when its node leaves, and by PAUSE and
// RECONNECT. Its client has to come again, as all clients of replication do.
func (t *Set) Replication(key Key, role route.Role, home *loop.Loop, params []wire.Param) *Pool {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.newPoolIn(newLedger(), key, role, home)
	p.replication = true
	t.keep(p, params)
	return p
}

// Connect logs in to the one server of a pool of Replication; Offer it to the
// pool. It blocks on the network.
func (p *Pool) Connect(ctx context.Context) (*Conn, error) {
	if p.account == nil {
		return nil, errLeft
	}
	if err := p.permit(ctx); err != nil {
		return nil, err
	}
	return p.set.connect(ctx, p, p.params)
}

// physical reports whether these startup parameters ask for physical replication,
// which knows no SQL.
func physical(params []wire.Param) bool {
	asked := false
	for _, p := range params {
		if p.Name == "replication" {
			asked = p.Value != "database"
		}
	}
	return asked
}
