package failover

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

const (
	// retryPace is an application's pause after an error.
	retryPace = 20 * time.Millisecond

	// connectTimeout is longer than any client may have to wait for a primary.
	connectTimeout = 3 * time.Minute
)

// client is one of the clients of a front.
type client struct {
	crew *crew
	kind kind
	pace time.Duration

	conn      *pgconn.PgConn
	connected time.Time
}

// work runs until ctx ends. What fails because of that is no failure.
func (c *client) work(ctx context.Context) {
	defer c.hangUp()
	for ctx.Err() == nil {
		pace := c.pace
		began := time.Now()
		if err := c.turn(ctx); err != nil {
			if ctx.Err() != nil {
				return
			}
			c.failed(began, err)
			pace = max(pace, retryPace)
		} else if c.kind == newcomer || c.kind == readcomer {
			c.hangUp()
		}
		pause(ctx, pace)
	}
}

// failed notes an error. The client starts over with a new connection, as an
// application's pool does.
func (c *client) failed(began time.Time, err error) {
	c.crew.failures.add(failure{
		kind: c.kind, connect: c.conn == nil, connected: c.connected,
		began: began, ended: time.Now(), class: classOf(err), text: err.Error(),
	})
	c.hangUp()
}

func (c *client) hangUp() {
	if c.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	c.conn.Close(ctx)
	c.conn = nil
}

// turn is one statement or transaction, after a login where one is needed.
func (c *client) turn(ctx context.Context) (err error) {
	if c.conn == nil {
		c.connected = time.Time{}
		addr := c.crew.primary
		if c.kind.reads() {
			addr = c.crew.replicas
		}
		ctx, cancel := context.WithTimeout(ctx, connectTimeout)
		defer cancel()
		if c.conn, err = pgconn.Connect(ctx, appURL(addr)); err != nil {
			return err
		}
		c.connected = time.Now()
	}
	switch c.kind {
	case writer, newcomer:
		return c.write(ctx, "%s")
	case short:
		return c.write(ctx, "BEGIN", "%s", "COMMIT")
	case long:
		return c.write(ctx, "BEGIN", "%s", "SELECT pg_sleep(1)", "COMMIT")
	default:
		return c.read(ctx)
	}
}

// write runs statements; "%s" among them stands for the INSERT of a new number.
func (c *client) write(ctx context.Context, statements ...string) error {
	id := c.crew.ledger.next()
	for _, sql := range statements {
		if sql == "%s" {
			sql = fmt.Sprintf("INSERT INTO failover_ledger VALUES ('%s', %d)", c.crew.name, id)
		}
		if _, err := c.conn.Exec(ctx, sql).ReadAll(); err != nil {
			return err
		}
	}
	now := time.Now()
	c.crew.ledger.ack(id)
	c.crew.acks.mark(now)
	return nil
}

// read asks where it is, and notes it.
func (c *client) read(ctx context.Context) error {
	began := time.Now()
	rows, err := c.conn.Exec(ctx, "SELECT pg_is_in_recovery(), host(inet_server_addr())").ReadAll()
	if err != nil {
		return err
	}
	row := rows[0].Rows[0]
	c.crew.visits.add(visit{
		kind: c.kind, began: began, ended: time.Now(), connected: c.connected,
		recovery: string(row[0]) == "t", host: string(row[1]),
	})
	return nil
}

// appURL names the application user behind an address.
func appURL(addr string) string {
	return fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=disable", lab.AppUser, lab.AppPassword, addr, lab.AppDatabase)
}

// pause waits for d or for the end of ctx.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
