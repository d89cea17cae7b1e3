// Package pgscript is a PostgreSQL peer that plays a script: it expects bytes,
// sends bytes, waits, closes or resets, exactly when and as the script says. It
// stands in for a server or a client where a test needs a protocol corner that
// the real ones cannot be made to turn: half a message, an answer before its
// question, a reset in the middle of a row.
//
//	server := pgscript.Serve(t,
//		pgscript.AcceptLogin(),
//		pgscript.Expect("Q"),
//		pgscript.Send(pgscript.Message('D', nil)[:3]), // half a DataRow
//		pgscript.Reset(),
//	)
//	client := pgscript.Dial(t, server.Addr)
//	client.Play(pgscript.Login("app", "app"), pgscript.Send(pgscript.Query("SELECT 1")))
//
// It judges nothing but the order of what it is told to expect, and has its own
// few lines of framing: the tested code must not vouch for itself.
package pgscript

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// stepTimeout bounds each step: a script that waits longer has found a bug.
const stepTimeout = 10 * time.Second

// maxBody bounds the messages that a script reads.
const maxBody = 64 << 20

// Step is one thing that a peer does. An error ends the script.
type Step func(*Conn) error

// Conn is the connection that a script is played on.
type Conn struct {
	net.Conn

	// Got is the last message that Expect or ExpectStartup has read: its body,
	// without type and length. Later steps may look at it.
	Got []byte
}

// play plays steps in order. Its error names the step by its number, from 1.
func (c *Conn) play(steps []Step) error {
	for i, step := range steps {
		if err := c.SetDeadline(time.Now().Add(stepTimeout)); err != nil {
			return err
		}
		if err := step(c); err != nil {
			return fmt.Errorf("step %d: %w", i+1, err)
		}
	}
	return nil
}

// Steps makes one step of several.
func Steps(steps ...Step) Step {
	return func(c *Conn) error { return c.play(steps) }
}

// Send writes bytes, all in one call.
func Send(parts ...[]byte) Step {
	return func(c *Conn) error {
		_, err := c.Write(bytes.Join(parts, nil))
		return err
	}
}

// SendSplit writes bytes in pieces of n, each in a segment of its own as far as
// the kernel lets it: Go sets TCP_NODELAY.
func SendSplit(n int, parts ...[]byte) Step {
	return func(c *Conn) error {
		for rest := bytes.Join(parts, nil); len(rest) > 0; {
			piece := rest[:min(n, len(rest))]
			if _, err := c.Write(piece); err != nil {
				return err
			}
			rest = rest[len(piece):]
		}
		return nil
	}
}

// Expect reads one message for each letter of types, which must be of that
// type: "QS" is a Query and a Sync. The last body is left in Got.
func Expect(types string) Step {
	return func(c *Conn) error {
		for i := range len(types) {
			kind, err := c.readMessage()
			if err != nil {
				return fmt.Errorf("expect %q of %q: %w", types[i], types, err)
			}
			if kind != types[i] {
				return fmt.Errorf("expect %q of %q: got %q %q", types[i], types, kind, clip(c.Got))
			}
		}
		return nil
	}
}

// ExpectUntil reads messages up to and with the first of a type, of which it
// leaves the body in Got.
func ExpectUntil(last byte) Step {
	return func(c *Conn) error {
		var before []byte
		for {
			kind, err := c.readMessage()
			if err != nil {
				return fmt.Errorf("expect %q, after %q: %w", last, before, err)
			}
			if kind == last {
				return nil
			}
			before = append(before, kind)
		}
	}
}

// ExpectBytes reads as many bytes as are given, which must be equal to them.
func ExpectBytes(parts ...[]byte) Step {
	return func(c *Conn) error {
		want := bytes.Join(parts, nil)
		got := make([]byte, len(want))
		n, err := io.ReadFull(c, got)
		if !bytes.Equal(got[:n], want[:n]) || err != nil {
			return errors.Join(fmt.Errorf("got %q, want %q", clip(got[:n]), clip(want)), err)
		}
		return nil
	}
}

// ExpectBody requires the body of the last message to contain a text.
func ExpectBody(part string) Step {
	return func(c *Conn) error {
		if !bytes.Contains(c.Got, []byte(part)) {
			return fmt.Errorf("body %q is without %q", clip(c.Got), part)
		}
		return nil
	}
}

// ExpectStartup reads a packet without a type: StartupMessage, GSSENCRequest or
// CancelRequest. An SSLRequest before it is answered: there is no TLS here. The
// body, from the version on, is in Got.
func ExpectStartup() Step {
	return func(c *Conn) error {
		err := c.readBody()
		if err == nil && string(c.Got) == "\x04\xd2\x16\x2f" { // 80877103
			if _, err = c.Write([]byte("N")); err == nil {
				err = c.readBody()
			}
		}
		if err != nil {
			return fmt.Errorf("expect a startup packet: %w", err)
		}
		return nil
	}
}

// ExpectEOF requires the peer to close, having sent nothing more. A reset is no
// orderly close.
func ExpectEOF() Step {
	return func(c *Conn) error {
		rest, err := io.ReadAll(io.LimitReader(c, 1024))
		if err != nil {
			return fmt.Errorf("expect the end: %w", err)
		}
		if len(rest) > 0 {
			return fmt.Errorf("expect the end: got %q", clip(rest))
		}
		return nil
	}
}

// ExpectGone requires the peer to close or to reset, whatever it sends before.
func ExpectGone() Step {
	return func(c *Conn) error {
		_, err := io.Copy(io.Discard, c)
		if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
			return fmt.Errorf("expect the end: %w", err)
		}
		return nil
	}
}

// Close closes the connection in both directions.
func Close() Step { return func(c *Conn) error { return c.Close() } }

// CloseWrite sends FIN and goes on reading.
func CloseWrite() Step {
	return func(c *Conn) error {
		half, ok := c.Conn.(interface{ CloseWrite() error })
		if !ok {
			return fmt.Errorf("%T cannot close one direction", c.Conn)
		}
		return half.CloseWrite()
	}
}

// Reset closes the connection with RST: what is under way is lost.
func Reset() Step {
	return func(c *Conn) error {
		tcp, ok := c.Conn.(*net.TCPConn)
		if !ok {
			return fmt.Errorf("%T cannot be reset", c.Conn)
		}
		return errors.Join(tcp.SetLinger(0), tcp.Close())
	}
}

// Wait waits until the test closes or sends on a channel.
func Wait(ready <-chan struct{}) Step {
	return func(*Conn) error {
		timer := time.NewTimer(stepTimeout)
		defer timer.Stop()
		select {
		case <-ready:
			return nil
		case <-timer.C:
			return errors.New("wait: timed out")
		}
	}
}

// Tell closes a channel that the test, or another script, waits for.
func Tell(done chan<- struct{}) Step {
	return func(*Conn) error {
		close(done)
		return nil
	}
}

// readMessage reads one typed message and leaves its body in Got.
func (c *Conn) readMessage() (byte, error) {
	var kind [1]byte
	if _, err := io.ReadFull(c, kind[:]); err != nil {
		return 0, err
	}
	return kind[0], c.readBody()
}

// readBody reads a length, which counts itself, and what it announces.
func (c *Conn) readBody() error {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length < 4 || length > maxBody {
		return fmt.Errorf("message length %d", length)
	}
	// Grows with what arrives: the announced length may be a lie of the test.
	var body bytes.Buffer
	n, err := io.CopyN(&body, c, int64(length)-4)
	c.Got = body.Bytes()
	if errors.Is(err, io.EOF) && n > 0 {
		return io.ErrUnexpectedEOF
	}
	return err
}

// clip shortens bytes for a message.
func clip(b []byte) string {
	const most = 200
	if len(b) <= most {
		return string(b)
	}
	return strings.ToValidUTF8(string(b[:most]), "?") + fmt.Sprintf("... (%d bytes)", len(b))
}
