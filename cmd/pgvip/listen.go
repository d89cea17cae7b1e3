package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pgvip/pgvip/config"
)

// listenAll opens the listeners of one role: every address, and before the
// second the Unix socket that is named for the port of the first. The caller
// closes those that it gets, also when there is an error.
func listenAll(c *config.Config, addresses []config.Address) ([]net.Listener, error) {
	var all []net.Listener
	for i, a := range addresses {
		l, err := listenTCP(c, a.String())
		if err != nil {
			return all, listenError(a.String(), err)
		}
		all = append(all, l)
		if dir := c.Listen.UnixSocketDir; dir != "" && i == 0 {
			path := filepath.Join(dir, ".s.PGSQL."+strconv.Itoa(a.Port))
			if l, err = listenUnix(path, c.ListenBacklog); err != nil {
				return all, listenError(path, err)
			}
			all = append(all, l)
		}
	}
	return all, nil
}

// listenTCP opens an address whose accepted connections have the configured
// keepalive.
func listenTCP(c *config.Config, address string) (net.Listener, error) {
	k := &c.Keepalive
	lc := net.ListenConfig{
		KeepAlive:       -1, // of no effect while KeepAliveConfig is enabled
		KeepAliveConfig: net.KeepAliveConfig{Enable: k.Enabled, Idle: k.Idle, Interval: k.Interval, Count: k.Count},
		// Before the first connection: accepted sockets inherit it.
		Control: func(_, _ string, raw syscall.RawConn) error { return setUserTimeout(raw, k.UserTimeout) },
	}
	// Go's default is Multipath TCP, whose sockets do not take TCP_USER_TIMEOUT.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return withBacklog(l, c.ListenBacklog)
}

// listenUnix opens a Unix socket. One left behind by a process that was killed
// is replaced; one that answers is in use.
func listenUnix(path string, backlog int) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, syscall.EADDRINUSE
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// As PostgreSQL's unix_socket_permissions: who may connect is a matter of
	// authentication.
	if err := os.Chmod(path, 0o777); err != nil {
		l.Close()
		return nil, err
	}
	return withBacklog(l, backlog)
}

// withBacklog gives l, closed after an error.
func withBacklog(l net.Listener, backlog int) (net.Listener, error) {
	if err := setBacklog(l, backlog); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// listenError names the address and the way out, since "bind" alone helps
// nobody at night.
func listenError(address string, err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	hint := ""
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		hint = `: "ss -ltnpx" shows who listens there`
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		hint = `: no interface of this machine has it; "*" as the host listens on all`
	}
	return fmt.Errorf("listen on %s: %w%s", address, err, hint)
}
