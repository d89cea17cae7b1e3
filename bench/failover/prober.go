package failover

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

// probePace is how often each node is written to.
const probePace = 4 * time.Millisecond

// noFloor is the longest pause between two writes that is no outage: what the
// prober and a busy machine add.
const noFloor = 50 * time.Millisecond

// proof is one direct write that was acknowledged.
type proof struct {
	node string
	at   time.Time
}

// prober writes to each node itself, without any front: what it cannot do,
// nobody can. Use newProber, then close.
type prober struct {
	cancel context.CancelFunc
	group  sync.WaitGroup

	// Guarded by mu.
	mu     sync.Mutex
	proofs []proof
	ends   []proof // moments at which a node ended the prober's connection
}

func newProber(nodes []*lab.Node) *prober {
	ctx, cancel := context.WithCancel(context.Background())
	p := &prober{cancel: cancel}
	for _, n := range nodes {
		p.group.Go(func() { p.probe(ctx, n) })
	}
	return p
}

func (p *prober) close() {
	p.cancel()
	p.group.Wait()
}

// probe runs until ctx ends.
func (p *prober) probe(ctx context.Context, n *lab.Node) {
	var conn *pgconn.PgConn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	sql := fmt.Sprintf("UPDATE failover_floor SET writes = writes + 1 WHERE node = '%s'", n.Name)
	for ctx.Err() == nil {
		if conn == nil {
			conn = p.connect(ctx, n)
		}
		if conn != nil {
			_, err := conn.Exec(ctx, sql).ReadAll()
			switch {
			case err == nil:
				p.note(&p.proofs, n)
			case conn.IsClosed():
				p.note(&p.ends, n)
				conn = nil
			}
		}
		pause(ctx, probePace)
	}
}

// connect logs in as the superuser, whom PostgreSQL keeps a place for. Its
// statements stay out of the server's log, where those of fronts are looked for.
func (p *prober) connect(ctx context.Context, n *lab.Node) *pgconn.PgConn {
	// A frozen server takes the connection and does not answer.
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	url := fmt.Sprintf("postgres://%s@%s/%s?sslmode=disable&application_name=floor", lab.Superuser, n.Postgres.Addr, lab.AppDatabase)
	conn, err := pgconn.Connect(ctx, url)
	if err != nil {
		return nil
	}
	if _, err := conn.Exec(ctx, "SET log_statement = none; SET log_min_error_statement = panic; SET log_min_messages = panic").ReadAll(); err != nil {
		conn.Close(ctx)
		return nil
	}
	return conn
}

func (p *prober) note(list *[]proof, n *lab.Node) {
	one := proof{n.Name, time.Now()}
	p.mu.Lock()
	defer p.mu.Unlock()
	*list = append(*list, one)
}

// forget drops what was before a scenario.
func (p *prober) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.proofs, p.ends = nil, nil
}

// floor is the longest stretch of [from, to] in which no node took a write.
// Writes for which counts is false do not count, such as an orphan's.
func (p *prober) floor(from, to time.Time, counts func(node string, at time.Time) bool) gap {
	p.mu.Lock()
	defer p.mu.Unlock()
	return floorOf(p.proofs, from, to, counts)
}

func floorOf(proofs []proof, from, to time.Time, counts func(string, time.Time) bool) gap {
	var times []time.Time
	for _, one := range proofs {
		if counts == nil || counts(one.node, one.at) {
			times = append(times, one.at)
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	g := longestGap(times, from, to)
	if g.length() < noFloor {
		return gap{from, from}
	}
	return g
}

// ended is when a node first ended the prober's connection after a moment.
func (p *prober) ended(node string, after time.Time) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.ends {
		if one.node == node && one.at.After(after) {
			return one.at, true
		}
	}
	return time.Time{}, false
}

// wrote reports whether a node took a write after a moment, and when it first did.
func (p *prober) wrote(node string, after time.Time) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, one := range p.proofs {
		if (node == "" || one.node == node) && one.at.After(after) {
			return one.at, true
		}
	}
	return time.Time{}, false
}
