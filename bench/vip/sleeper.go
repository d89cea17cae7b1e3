package vip

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// sleeper is a client that waits for an answer, as one that was idle or whose query
// was under way when its balancer died. Its kernel sends nothing, so it would learn
// of nothing.
type sleeper struct {
	mu    sync.Mutex
	ended time.Time // guarded by mu; zero while it sleeps
	class string    // guarded by mu: reset, closed, or what else ended it
}

// dormitory is a number of sleepers.
type dormitory struct {
	all   []*sleeper
	conns []net.Conn
	wg    sync.WaitGroup
}

// newDormitory logs a number of clients in, which then wait.
func newDormitory(ctx context.Context, host *Host, url string, count int) (*dormitory, error) {
	d := &dormitory{}
	for range count {
		pg, err := connect(ctx, host, url)
		if err != nil {
			d.close()
			return nil, err
		}
		taken, err := pg.Hijack()
		if err != nil {
			d.close()
			return nil, err
		}
		s := &sleeper{}
		d.all, d.conns = append(d.all, s), append(d.conns, taken.Conn)
		d.wg.Go(func() { s.sleep(taken.Conn) })
	}
	return d, nil
}

func (s *sleeper) sleep(conn net.Conn) {
	_, err := io.Copy(io.Discard, conn)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.class = time.Now(), "closed"
	if errors.Is(err, syscall.ECONNRESET) {
		s.class = "reset"
	} else if err != nil {
		s.class = err.Error()
	}
}

// woken is when the last of those who were woken was, and how many still sleep.
func (d *dormitory) woken() (last time.Time, asleep int) {
	for _, s := range d.all {
		s.mu.Lock()
		if s.ended.IsZero() {
			asleep++
		} else if s.ended.After(last) {
			last = s.ended
		}
		s.mu.Unlock()
	}
	return last, asleep
}

func (d *dormitory) close() {
	for _, c := range d.conns {
		c.Close()
	}
	d.wg.Wait()
}

// connect logs a client in from a host.
func connect(ctx context.Context, host *Host, url string) (*pgconn.PgConn, error) {
	conf, err := pgconn.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	conf.DialFunc = host.Dial
	return pgconn.ConnectConfig(ctx, conf)
}
