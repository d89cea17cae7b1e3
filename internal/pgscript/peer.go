package pgscript

import (
	"errors"
	"net"
	"sync"
	"testing"
)

// Server listens, and plays scripts on the connections that it accepts.
type Server struct {
	// Addr is where it listens.
	Addr string

	listener net.Listener
	wg       sync.WaitGroup // accept and all scripts
}

// Serve starts a server that plays the same script on every connection, and
// closes the connection after the last step. A script that fails fails the test.
//
// All ends with the test, which waits for the scripts: those that the test need
// not bring to their end should close with ExpectGone.
func Serve(t testing.TB, script ...Step) *Server {
	t.Helper()
	return serve(t, func(int) []Step { return script })
}

// ServeEach starts a server that plays the first script on the first connection
// it accepts, the second on the second, and so on. More connections than
// scripts fail the test, unless they are for cancel requests; fewer do not.
func ServeEach(t testing.TB, scripts ...Step) *Server {
	t.Helper()
	return serve(t, func(n int) []Step {
		if n >= len(scripts) {
			return []Step{ExpectStartup(), sessionOnly, func(*Conn) error { return errors.New("one connection too many") }}
		}
		return scripts[n : n+1]
	})
}

func serve(t testing.TB, script func(n int) []Step) *Server {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: listener.Addr().String(), listener: listener}
	s.wg.Go(func() { s.accept(t, script) })
	t.Cleanup(func() {
		listener.Close()
		s.wg.Wait() // bounded: each step has its time
	})
	return s
}

func (s *Server) accept(t testing.TB, script func(n int) []Step) {
	for n := 0; ; n++ {
		conn, err := s.listener.Accept()
		if err != nil {
			return // closed, at the test's end
		}
		s.wg.Go(func() {
			defer conn.Close()
			err := (&Conn{Conn: conn}).play(script(n))
			if err != nil && !errors.Is(err, errCancelRequest) {
				t.Errorf("scripted server, connection %d: %v", n+1, err)
			}
		})
	}
}

// Client is a scripted client.
type Client struct {
	Conn
	t testing.TB
}

// Dial connects a scripted client, which is closed when the test ends.
func Dial(t testing.TB, addr string) *Client {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, stepTimeout)
	if err != nil {
		t.Fatal(err)
	}
	return Attach(t, conn)
}

// Attach makes a scripted client of a connection: one end of a pair, or one
// that speaks TLS.
func Attach(t testing.TB, conn net.Conn) *Client {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	return &Client{Conn: Conn{Conn: conn}, t: t}
}

// Play plays steps; one that fails ends the test. It may be called again, to do
// something else in between.
func (c *Client) Play(steps ...Step) {
	c.t.Helper()
	if err := c.play(steps); err != nil {
		c.t.Fatalf("scripted client: %v", err)
	}
}
