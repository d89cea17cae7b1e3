package vip

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

const (
	writePace    = 10 * time.Millisecond
	retryPace    = 20 * time.Millisecond
	writeTimeout = time.Second // an application's own: it does not wait for TCP's

	ledgerSQL = `CREATE TABLE IF NOT EXISTS vip_ledger (id bigint PRIMARY KEY); GRANT ALL ON vip_ledger TO app`
)

// office is a number of clients that write numbers, each over one connection that
// it renews when it fails.
type office struct {
	host *Host
	url  string
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu      sync.Mutex
	next    int64
	acked   map[int64]bool
	times   []time.Time // of acknowledgements
	breaks  []int       // by writer: how many times its connection broke
	classes map[string]int
}

// newOffice starts writers; their numbers begin at first.
func newOffice(host *Host, url string, writers int, first int64) *office {
	ctx, stop := context.WithCancel(context.Background())
	o := &office{
		host: host, url: url, stop: stop, next: first,
		acked: map[int64]bool{}, breaks: make([]int, writers), classes: map[string]int{},
	}
	for n := range writers {
		o.wg.Go(func() { o.write(ctx, n) })
	}
	return o
}

func (o *office) write(ctx context.Context, n int) {
	var conn *pgconn.PgConn
	for ctx.Err() == nil {
		wait := writePace
		if err := o.turn(ctx, &conn); err != nil && ctx.Err() == nil {
			o.broke(n, err)
			wait = retryPace
		}
		pause(ctx, wait)
	}
	hangUp(conn)
}

// turn writes one number, after a login where one is needed.
func (o *office) turn(ctx context.Context, conn **pgconn.PgConn) (err error) {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	if *conn == nil {
		if *conn, err = connect(ctx, o.host, o.url); err != nil {
			return errLogin{err}
		}
	}
	o.mu.Lock()
	id := o.next
	o.next++
	o.mu.Unlock()
	if _, err := (*conn).Exec(ctx, "INSERT INTO vip_ledger VALUES ("+strconv.FormatInt(id, 10)+")").ReadAll(); err != nil {
		hangUp(*conn)
		*conn = nil
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.acked[id] = true
	o.times = append(o.times, time.Now())
	return nil
}

// errLogin is an attempt to connect that failed: the break before it counts, and
// not how often a client has to try.
type errLogin struct{ error }

func (o *office) broke(n int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var login errLogin
	if errors.As(err, &login) {
		return
	}
	o.breaks[n]++
	class := "lost"
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		class = pg.Code
	}
	o.classes[class]++
}

func hangUp(conn *pgconn.PgConn) {
	if conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	conn.Close(ctx)
}

func (o *office) close() {
	o.stop()
	o.wg.Wait()
}

// audit ends the writers and compares with the database: how many acknowledged
// numbers are not there.
func (o *office) audit(ctx context.Context, leader *lab.Node) (lost int, err error) {
	o.close()
	text, err := leader.Postgres.SQL(ctx, lab.AppDatabase, "SELECT id FROM vip_ledger")
	if err != nil {
		return 0, fmt.Errorf("audit: %w", err)
	}
	return countLost(o.acked, text)
}

// countLost is how many acknowledged numbers are not among the lines of text.
func countLost(acked map[int64]bool, text string) (lost int, err error) {
	stored := map[int64]bool{}
	for _, field := range strings.Fields(text) {
		id, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("audit: %w", err)
		}
		stored[id] = true
	}
	for id := range acked {
		if !stored[id] {
			lost++
		}
	}
	return lost, nil
}
