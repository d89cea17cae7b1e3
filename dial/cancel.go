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
// or may not have been carried out.
func Cancel(ctx context.Context, network, address string, pid uint32, key []byte) error {
	conn, err := connect(ctx, &Config{Network: network, Address: address})
	if err != nil {
		return explain(ctx, OpCancel, address, err)
	}
	defer conn.Close()
	release := interruptible(ctx, conn)
	err = requestCancel(conn, pid, key)
	release()
	if err != nil {
		return explain(ctx, OpCancel, address, err)
	}
	return nil
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
