package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// openers log in side by side. Few: a storm is another test.
	openers = 16
	// perSource connections share a source address: the kernel has 28,000 ports
	// for each, and some still wait for the end of earlier connections.
	perSource = 5000
)

// Idlers are clients that have logged in and say nothing.
type Idlers struct {
	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

// OpenIdle logs n clients in. It raises this process's limit of descriptors as
// far as it has to. Close logs them out.
func OpenIdle(ctx context.Context, address string, who Account, n int) (*Idlers, error) {
	if err := RaiseFileLimit(n + 200); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var (
		all   Idlers
		group sync.WaitGroup
	)
	for k := range openers {
		group.Go(func() {
			for i := k; i < n && ctx.Err() == nil; i += openers {
				if err := all.open(ctx, address, who, i); err != nil {
					cancel(fmt.Errorf("idle client %d: %w", i, err))
				}
			}
		})
	}
	group.Wait()
	if err := context.Cause(ctx); err != nil {
		all.Close()
		return nil, err
	}
	return &all, nil
}

// open logs client i in. Each has its own deadline: one that hangs shall not hold
// the whole measurement.
func (all *Idlers) open(ctx context.Context, address string, who Account, i int) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	source := net.IPv4(127, 0, 1, byte(1+i/perSource))
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: source}}
	conn, err := Login(ctx, dialer, address, who)
	if err != nil {
		return err
	}
	all.mu.Lock()
	all.conns = append(all.conns, conn)
	all.mu.Unlock()
	return nil
}

// Silent checks that every client is still logged in and has been told nothing:
// a proxy that throws its idle clients out holds them cheaply.
func (all *Idlers) Silent() error {
	all.mu.Lock()
	defer all.mu.Unlock()
	var b [1]byte
	for i, c := range all.conns {
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			return fmt.Errorf("idle client %d: %w", i, err)
		}
		var n int
		if ctlErr := raw.Control(func(fd uintptr) {
			n, _, err = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		}); ctlErr != nil {
			return fmt.Errorf("idle client %d: %w", i, ctlErr)
		}
		switch {
		case errors.Is(err, unix.EAGAIN):
		case err != nil:
			return fmt.Errorf("idle client %d of %d: %w", i, len(all.conns), err)
		case n == 0:
			return fmt.Errorf("idle client %d of %d: %w", i, len(all.conns), io.EOF)
		default:
			return fmt.Errorf("idle client %d of %d: got message %q", i, len(all.conns), b[0])
		}
	}
	return nil
}

// Close drops all clients.
func (all *Idlers) Close() {
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, c := range all.conns {
		c.Close()
	}
	all.conns = nil
}

// RaiseFileLimit makes room for n open descriptors here and in the programs
// that are started from now on. Beyond the hard limit it needs root.
func RaiseFileLimit(n int) error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("limit of open files: %w", err)
	}
	want := unix.Rlimit{Cur: max(limit.Cur, uint64(n)), Max: max(limit.Max, uint64(n))}
	// Through the unix package, which tells the runtime: otherwise it would
	// give its children the limit that it was started with.
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &want); err != nil {
		return fmt.Errorf("limit of open files: raise from %d to %d: %w", limit.Cur, n, err)
	}
	return nil
}
