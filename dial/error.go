package dial

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pgvip/pgvip/wire"
)

// ErrProtocol is wrapped by every error that says a server broke the protocol.
var ErrProtocol = errors.New("protocol violation")

// ErrClosed says that a Conn was used after Close, Detach or an error that ended
// it.
var ErrClosed = errors.New("connection is closed")

// Op says in what a connection went wrong.
type Op string

// The operations of an Error.
const (
	OpConnect Op = "connect"
	OpLogin   Op = "log in"
	OpQuery   Op = "query"
	OpDetach  Op = "detach"
	OpCancel  Op = "cancel"
)

// Error is any trouble that is not the server's own ErrorResponse: network,
// protocol, a missing secret, the caller's context. It wraps the cause
// (syscall.ECONNREFUSED, io.ErrUnexpectedEOF, ErrProtocol, *auth.SecretError,
// context.DeadlineExceeded, ...).
type Error struct {
	Op      Op
	Address string
	Err     error
}

// Error gives operation, address and cause.
func (e *Error) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Address, e.Err) }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// explain makes the caller's error from what an operation ended with. The
// server's own words come first, then the caller's context, which shows on the
// socket as a time-out.
func explain(ctx context.Context, op Op, address string, err error) error {
	var own *wire.Error
	if errors.As(err, &own) {
		return own
	}
	if cause := ctx.Err(); cause != nil {
		return &Error{Op: op, Address: address, Err: cause}
	}
	var network *net.OpError
	switch {
	case errors.As(err, &network):
		// It would repeat the address.
		err = network.Err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		err = fmt.Errorf("server closed the connection: %w", io.ErrUnexpectedEOF)
	}
	return &Error{Op: op, Address: address, Err: err}
}
