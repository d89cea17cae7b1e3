package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"

	"github.com/pgvip/pgvip/wire"
)

// Cancel asks the server to cancel what the session with this key is running,
// and waits until the server has closed the connection of the request. Only then
// has the signal been sent: a server connection that is lent to somebody else
// before could have the wrong query cancelled.
//
// The server never says whether it knew the key. After an error the request may
// or may not have been carried out; after one of OpConnect it has not been sent,
// and never will be. Of cfg the network counts and, for a session
// that has TLS, TLS: the key must not be seen where the session cannot be.
func Cancel(ctx context.Context, cfg *Config, pid uint32, key []byte) error {
	socket, err := connect(ctx, cfg)
	if err != nil {
		return explain(ctx, OpConnect, cfg.Address, err)
	}
	defer socket.Close()
	defer interruptible(ctx, socket)()
	conn, err := cancelChannel(socket, cfg)
	if err != nil {
		return explain(ctx, OpConnect, cfg.Address, err)
	}
	if err := requestCancel(conn, pid, key); err != nil {
		return explain(ctx, OpCancel, cfg.Address, err)
	}
	return nil
}

// cancelChannel is what the request goes through: conn, or TLS on it.
func cancelChannel(conn net.Conn, cfg *Config) (net.Conn, error) {
	if cfg.TLS == nil || cfg.Network == "unix" {
		return conn, nil
	}
	secured, err := encrypt(conn, cfg)
	if err != nil || secured == nil {
		return conn, err
	}
	return secured, nil
}

func requestCancel(conn net.Conn, pid uint32, key []byte) error {
	request := wire.Startup{Code: wire.CancelRequestCode, ProcessID: pid, SecretKey: key}
	if _, err := conn.Write(request.Append(nil)); err != nil {
		return err
	}
	var reply [1]byte
	n, err := conn.Read(reply[:])
	switch {
	case n > 0:
		return fmt.Errorf("%w: server answers a cancel request with %q", ErrProtocol, reply)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.ECONNRESET):
		return nil
	}
	return err
}
