package vip

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

const (
	visitPace    = 15 * time.Millisecond
	visitTimeout = 200 * time.Millisecond
)

// Visitor connects to an address over and over, from a host, and notes when
// somebody answered there. What answers is the process and not its kernel: it is asked
// whether it speaks TLS.
type Visitor struct {
	host *Host
	addr string
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	served []time.Time // guarded by mu; when answers came, in no strict order
}

// NewVisitor starts the visits. The caller calls Close.
func NewVisitor(host *Host, addr string) *Visitor {
	ctx, stop := context.WithCancel(context.Background())
	v := &Visitor{host: host, addr: addr, stop: stop}
	v.wg.Go(func() { v.work(ctx) })
	return v
}

func (v *Visitor) work(ctx context.Context) {
	tick := time.NewTicker(visitPace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		// Side by side: one whose packets are lost holds no other up.
		v.wg.Go(func() {
			if v.visit(ctx) == nil {
				v.mu.Lock()
				v.served = append(v.served, time.Now())
				v.mu.Unlock()
			}
		})
	}
}

// sslRequest asks a PostgreSQL server whether it speaks TLS: one byte answers.
var sslRequest = [8]byte{3: 8, 4: 0x04, 5: 0xd2, 6: 0x16, 7: 0x2f}

func (v *Visitor) visit(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, visitTimeout)
	defer cancel()
	conn, err := v.host.Dial(ctx, "tcp", v.addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) // no port of ours waits for a minute
	}
	if _, err := conn.Write(sslRequest[:]); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	if answer[0] != 'N' && answer[0] != 'S' {
		return errors.New("not PostgreSQL's answer")
	}
	return nil
}

// Served are the moments of answers since a moment.
func (v *Visitor) Served(since time.Time) []time.Time {
	v.mu.Lock()
	defer v.mu.Unlock()
	var all []time.Time
	for _, t := range v.served {
		if t.After(since) {
			all = append(all, t)
		}
	}
	return all
}

// Close ends the visits.
func (v *Visitor) Close() {
	v.stop()
	v.wg.Wait()
}

// longestGap is the longest time without an answer between from and to.
func longestGap(served []time.Time, from, to time.Time) (longest time.Duration) {
	last := from
	for _, t := range served {
		if t.Before(last) || t.After(to) {
			continue
		}
		longest, last = max(longest, t.Sub(last)), t
	}
	return max(longest, to.Sub(last))
}
