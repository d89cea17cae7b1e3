package dial

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// Keepalive is how a connection over TCP finds out that its peer has gone without
// a word: probes while it is idle, UserTimeout while it waits for an
// acknowledgement, which is when the kernel sends no probes.
type Keepalive struct {
	Enabled  bool
	Idle     time.Duration // silence before the first probe, whole seconds
	Interval time.Duration // between probes, whole seconds
	Count    int           // unanswered probes that end the connection
	// UserTimeout is TCP_USER_TIMEOUT, whole milliseconds: how long data that was
	// sent may stay without an acknowledgement; 0 leaves it to the kernel.
	UserTimeout time.Duration
}

// DefaultKeepalive finds a peer that vanished within 10 s + 3 probes of 3 s.
func DefaultKeepalive() Keepalive {
	return Keepalive{Enabled: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3,
		UserTimeout: 60 * time.Second}
}

// Config says where to connect and as whom. Login does not change it, so that
// one Config serves many logins.
type Config struct {
	// Network is "tcp" or "unix", Address host:port or the path of the socket.
	Network string
	Address string

	User string
	// Database may be empty: the server takes the user's name.
	Database string
	// Params are further parameters of the startup packet.
	Params     []wire.Param
	Credential auth.Credential

	// TLS says how the connection is encrypted; nil, and over Unix sockets, not at
	// all.
	TLS *tlsconf.Connector

	// KeyCache spares repeated SCRAM derivations; nil for none.
	KeyCache *auth.KeyCache
	// MinIterations is the least SCRAM iteration count accepted from the server;
	// 0 means auth.DefaultMinIterations.
	MinIterations int
	// DialFunc opens the connection; nil means a plain net.Dialer.
	DialFunc func(ctx context.Context, network, address string) (net.Conn, error)
	// Keepalive is that of the connection; nil means DefaultKeepalive.
	Keepalive *Keepalive
	// Rand is the source of nonces; nil means crypto/rand.
	Rand io.Reader
}

// connect opens the connection and sets its socket options.
func connect(ctx context.Context, cfg *Config) (net.Conn, error) {
	open := cfg.DialFunc
	if open == nil {
		// The options are set below, for connections of a DialFunc too.
		open = (&net.Dialer{KeepAlive: -1}).DialContext
	}
	conn, err := open(ctx, cfg.Network, cfg.Address)
	if err != nil {
		return nil, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}
	keepalive := DefaultKeepalive()
	if cfg.Keepalive != nil {
		keepalive = *cfg.Keepalive
	}
	if err := setOptions(tcp, keepalive); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func setOptions(tcp *net.TCPConn, k Keepalive) error {
	// Go's default already; said because queries are small and wait for answers.
	if err := tcp.SetNoDelay(true); err != nil {
		return err
	}
	err := tcp.SetKeepAliveConfig(net.KeepAliveConfig{Enable: k.Enabled, Idle: k.Idle, Interval: k.Interval, Count: k.Count})
	if err != nil {
		return err
	}
	return setUserTimeout(tcp, k.UserTimeout)
}

// aLongTimeAgo is a deadline that has passed on every clock.
func aLongTimeAgo() time.Time { return time.Unix(1, 0) }

// interruptible makes reads and writes on conn fail as soon as ctx ends. The
// returned function undoes that and must be called before conn is used again;
// when it returns, nothing of this touches conn any more.
func interruptible(ctx context.Context, conn net.Conn) (release func()) {
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		// Fails only on a closed connection, whose reads fail anyway.
		_ = conn.SetDeadline(aLongTimeAgo())
	})
	return func() {
		if !stop() {
			<-fired
			_ = conn.SetDeadline(time.Time{})
		}
	}
}
