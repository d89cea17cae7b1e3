package health

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/pgvip/pgvip/wire"
)

// Crowd is how many connections a node has, and may have.
type Crowd struct {
	Usable   int // max_connections less those that are reserved
	Backends int // client backends, the probe's own included
}

// crowdPause is the time between two looks at a node's crowd: what others do there
// changes slowly, and a login that finds no place after all is tried again.
const crowdPause = 5 * time.Second

// crowdQuestion counts by backend_type where the probe may see that, which takes
// pg_monitor for the backends of others; else by what everybody sees. What belongs
// to a database and a user is a client, or works for one.
const crowdQuestion = `SELECT pg_catalog.current_setting('max_connections')::int` +
	` - pg_catalog.current_setting('superuser_reserved_connections')::int` +
	` - COALESCE(pg_catalog.current_setting('reserved_connections', true), '0')::int,` +
	` (SELECT count(*) FROM pg_catalog.pg_stat_activity WHERE COALESCE(backend_type,` +
	` CASE WHEN datid IS NOT NULL AND usesysid IS NOT NULL THEN 'client backend' END) = 'client backend')`

// countCrowd does so now and then, on the connection of a probe that has just
// been answered, and at once on a node that has just been promoted: its pools are
// about to be filled. Its outcome is no verdict about the node.
func (p *prober) countCrowd(ctx context.Context, a answer) {
	promoted := p.recovering && !a.inRecovery
	p.recovering = a.inRecovery
	if p.cfg.Crowd == nil || p.conn == nil || !promoted && time.Since(p.looked) < crowdPause {
		return
	}
	p.looked = time.Now()
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Timeout)
	defer cancel()
	rows, err := p.conn.Query(ctx, crowdQuestion)
	var refusal *wire.Error
	if err != nil && !errors.As(err, &refusal) {
		p.hangUp()
	}
	if c, ok := parseCrowd(rows); ok && err == nil {
		p.cfg.Crowd(p.addr, c)
	}
}

func parseCrowd(rows [][]string) (c Crowd, ok bool) {
	if len(rows) != 1 || len(rows[0]) != 2 {
		return c, false
	}
	var errs [2]error
	c.Usable, errs[0] = strconv.Atoi(rows[0][0])
	c.Backends, errs[1] = strconv.Atoi(rows[0][1])
	return c, errors.Join(errs[:]...) == nil
}
