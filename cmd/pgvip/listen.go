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
			if l, err = listenUnix(c, path); err != nil {
				return all, listenError(path, err)
			}
			all = append(all, l)
		}
	}
	return all, nil
}

// listenTCPs opens the listeners of addresses. The caller closes those that it
// gets, also when there is an error.
func listenTCPs(c *config.Config, addresses []config.Address) ([]net.Listener, error) {
	var all []net.Listener
	for _, a := range addresses {
		l, err := listenTCP(c, a.String())
		if err != nil {
			return all, listenError(a.String(), err)
		}
		all = append(all, l)
	}
	return all, nil
}

// listenTCP opens an address whose accepted connections have the configured
// keepalive.
func listenTCP(c *config.Config, address string) (net.Listener, error) {
	lc := net.ListenConfig{
		KeepAlive: -1, // Go's own: connections have that of the listener
		// Before the first connection: accepted sockets inherit it.
		Control: func(network, _ string, raw syscall.RawConn) error {
			err := setKeepalive(raw, &c.Keepalive)
			if err == nil && c.VIP.Has(address) {
				// The node that stands by listens there too, and serves from the first
				// moment on.
				err = setFreebind(raw, network)
			}
			if c.VIP.Enabled() {
				_ = setTransparent(raw) // what lacks without it is a politeness
			}
			return err
		},
	}
	// Go's default is Multipath TCP, whose sockets do not take TCP_USER_TIMEOUT.
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		return nil, err
	}
	return tuned(l, c)
}

// tuned gives l, closed after an error.
func tuned(l net.Listener, c *config.Config) (net.Listener, error) {
	if err := tune(l, c); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// tune sets the options of a listener's socket.
func tune(l net.Listener, c *config.Config) error {
	socket, ok := l.(syscall.Conn)
	if !ok {
		return errors.New("listener is no socket")
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	if l.Addr().Network() == "tcp" {
		err = setKeepalive(raw, &c.Keepalive)
	}
	return errors.Join(err, setBacklog(raw, c.ListenBacklog))
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
