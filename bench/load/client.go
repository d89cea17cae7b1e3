package load

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/pgvip/pgvip/wire"
)

// maxSkipped bounds a message that a client throws away; what the benchmark
// asks for is far smaller, so more means that the peer speaks another protocol.
const maxSkipped = 1 << 20

// Login opens one connection and logs in by trust. The caller closes it.
func Login(ctx context.Context, dialer *net.Dialer, address string, who Account) (net.Conn, error) {
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	_, err = conn.Write(startup(who))
	if err == nil {
		err = awaitReady(conn)
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("login to %s: %w", address, err)
	}
	return conn, nil
}

// Ping logs in, runs a query and leaves: it shows that a proxy has found its
// server.
func Ping(ctx context.Context, address string, who Account) error {
	return Exec(ctx, &net.Dialer{}, address, who, "SELECT 1")
}

// Exec logs in, runs a statement, whose result is thrown away, and leaves.
func Exec(ctx context.Context, dialer *net.Dialer, address string, who Account, sql string) error {
	conn, err := Login(ctx, dialer, address, who)
	if err != nil {
		return err
	}
	defer conn.Close()
	const head = 5 // type and length; the length counts itself, not the type
	query := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(head+len(sql)))
	query = append(append(query, sql...), 0)
	if _, err := conn.Write(query); err != nil {
		return fmt.Errorf("exec on %s: %w", address, err)
	}
	if err := awaitReady(conn); err != nil {
		return fmt.Errorf("exec on %s: %w", address, err)
	}
	_, err = conn.Write([]byte("X\x00\x00\x00\x04"))
	return err
}

// SQLState gives the code of an error that a server sent, empty for others.
func SQLState(err error) string {
	if sent, ok := errors.AsType[*wire.Error](err); ok {
		return sent.Code
	}
	return ""
}

// startup is a StartupMessage of protocol 3.0. Its length counts itself.
func startup(who Account) []byte {
	b := []byte{0, 0, 0, 0, 0, 3, 0, 0}
	for _, s := range []string{"user", who.User, "database", who.Database} {
		b = append(b, s...)
		b = append(b, 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// awaitReady reads up to ReadyForQuery, or to the error that came instead.
func awaitReady(r io.Reader) error {
	for {
		var head [5]byte
		if _, err := io.ReadFull(r, head[:]); err != nil {
			return err
		}
		n := int64(binary.BigEndian.Uint32(head[1:])) - 4
		if n < 0 || n > maxSkipped {
			return fmt.Errorf("message %q of %d bytes", head[0], n)
		}
		if head[0] == 'E' {
			body, err := io.ReadAll(io.LimitReader(r, n))
			if err != nil {
				return err
			}
			return wire.ParseError(body)
		}
		if head[0] == 'R' {
			if err := trusted(r, n); err != nil {
				return err
			}
			continue
		}
		if _, err := io.CopyN(io.Discard, r, n); err != nil {
			return err
		}
		if head[0] == 'Z' {
			return nil
		}
	}
}

// trusted takes the body of an authentication request, which has to be OK.
func trusted(r io.Reader, n int64) error {
	var body [4]byte
	if n != int64(len(body)) {
		return errors.New("the server asks for a password")
	}
	if _, err := io.ReadFull(r, body[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint32(body[:]) != 0 {
		return errors.New("the server asks for a password")
	}
	return nil
}
