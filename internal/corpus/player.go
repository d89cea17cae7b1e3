package corpus

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
	"time"
)

// playTimeout bounds one play of one transcript. The longest of the corpus
// takes some 100 ms; a loaded machine gets a hundred times that.
const playTimeout = 10 * time.Second

// readBuffer is as large as a loop's read, so that the player is not the one
// who makes small reads of a large result.
const readBuffer = 64 << 10

// inlineWrite is the most that is written before reading begins. Socket buffers
// take it whatever the peer does; more is written beside the reading, or both
// sides could wait for each other.
const inlineWrite = 16 << 10

// Target is where and as whom to log in.
type Target struct {
	Addr     string // host:port
	User     string
	Password string
	Database string
	// TLS asks for it, and goes on with nobody who has none. Whose certificate it
	// is does not matter here.
	TLS bool
}

// Player plays transcripts against one target. It is safe for concurrent use.
type Player struct {
	// Normaliser is what PlaySplits compares with; set before the first play.
	Normaliser Normaliser

	target Target
	salted saltedPasswords
}

// NewPlayer returns a player for t. It opens nothing yet.
func NewPlayer(t Target) *Player {
	return &Player{target: t}
}

// Chunking says how the bytes of a batch are cut into writes. The zero value
// writes a batch at once.
type Chunking struct {
	// Split > 0 cuts each batch in two behind its byte Split, counted modulo
	// its length. The second write waits until the peer has read the first.
	Split int

	// Bytewise sends every byte alone, each after the peer has read the last.
	Bytewise bool

	// Coalesced sends the whole transcript in one write, barriers ignored.
	Coalesced bool

	// SlowReader takes its time for each read.
	SlowReader bool
}

// String names the chunking in test output.
func (c Chunking) String() string {
	switch {
	case c.Coalesced:
		return "coalesced"
	case c.Bytewise:
		return "bytewise"
	case c.SlowReader:
		return "slow reader"
	case c.Split > 0:
		return fmt.Sprintf("split at %d", c.Split)
	}
	return "whole"
}

// Play logs in on a connection of its own, plays t in the given chunking and
// returns what the server sent. The login itself is cut as well if t has startup
// parameters; without, all logins are alike and one such is enough.
// A *LoginError means that the server refused the login.
func (p *Player) Play(ctx context.Context, t *Transcript, c Chunking) (*Recording, error) {
	s, err := p.open(ctx, t.Startup, c)
	if err != nil {
		return nil, fmt.Errorf("transcript %s, %v: %w", t.Name, c, err)
	}
	defer s.close()
	steps, err := s.play(t, c)
	if err != nil {
		return nil, fmt.Errorf("transcript %s, %v: %w", t.Name, c, err)
	}
	return &Recording{Name: t.Name, Welcome: s.welcome, Steps: steps}, nil
}

// session is one logged-in connection.
type session struct {
	socket  *net.TCPConn
	conn    net.Conn // socket, or TLS on it
	r       *bufio.Reader
	peer    *peerQueue // nil unless writes are cut
	welcome []byte
	ended   bool // Terminate or a half-close was sent, or the server closed
	stop    func() bool
}

func (p *Player) open(ctx context.Context, params []Param, c Chunking) (*session, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", p.target.Addr)
	if err != nil {
		return nil, err
	}
	s := &session{socket: conn.(*net.TCPConn), conn: conn}
	// The end of ctx must wake a blocked read; a past deadline does.
	s.stop = context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	conn.SetDeadline(time.Now().Add(playTimeout))
	if p.target.TLS {
		if s.conn, err = encrypted(conn); err != nil {
			s.stop()
			conn.Close()
			return nil, err
		}
	}
	s.r = bufio.NewReaderSize(s.conn, readBuffer)
	if c.SlowReader {
		s.r = bufio.NewReaderSize(slowReader{s.conn}, slowBuffer)
	}
	if c.Bytewise || c.Split > 0 {
		if s.peer, err = newPeerQueue(s.socket); err != nil {
			s.close()
			return nil, err
		}
	}
	send := func(b []byte) error { return s.write(b, loginChunking(params, c)) }
	l := login{target: p.target, params: params, salted: &p.salted, send: send, r: s.r}
	if s.welcome, err = l.run(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// encrypted asks for TLS on conn and shakes hands.
func encrypted(conn net.Conn) (net.Conn, error) {
	var answer [1]byte
	if _, err := conn.Write([]byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f}); err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return nil, err
	}
	if answer[0] != 'S' {
		return nil, fmt.Errorf("SSLRequest is answered with %q", answer)
	}
	secured := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
	return secured, secured.Handshake()
}

// closeWrite ends what we send.
func (s *session) closeWrite() error {
	if secured, ok := s.conn.(*tls.Conn); ok {
		if err := secured.CloseWrite(); err != nil {
			return err
		}
	}
	return s.socket.CloseWrite()
}

func loginChunking(params []Param, c Chunking) Chunking {
	if len(params) == 0 {
		return Chunking{}
	}
	return c
}

// close gives the connection back; a session still alive says Terminate, so
// that the server does not log a lost connection.
func (s *session) close() {
	s.stop()
	if !s.ended {
		s.conn.SetDeadline(time.Now().Add(playTimeout))
		s.conn.Write(message('X', nil))
	}
	s.conn.Close()
	if s.peer != nil {
		s.peer.close()
	}
}

func (s *session) play(t *Transcript, c Chunking) ([]Step, error) {
	s.conn.SetDeadline(time.Now().Add(playTimeout))
	steps := make([]Step, len(t.Script))
	whole := Batch{}
	for i, b := range t.Script {
		steps[i].Client = b.Client
		whole.Client = append(whole.Client, b.Client...)
		whole.Cut = whole.Cut || b.Cut
	}
	// When the server is to close, it may do so before it has read everything.
	whole.Wait.EOF = t.Script[len(t.Script)-1].Wait.EOF
	join := func() error { return nil }
	if c.Coalesced {
		join = s.send(whole, c)
	}
	for i, b := range t.Script {
		if !c.Coalesced {
			join = s.send(b, c)
		}
		server, err := s.await(b.Wait)
		steps[i].Server = server
		if err != nil {
			return steps[:i+1], s.stuck(t, i, steps[i].Server, err)
		}
		if !c.Coalesced {
			if err := join(); err != nil {
				return steps[:i+1], s.stuck(t, i, steps[i].Server, err)
			}
		}
	}
	return steps, join()
}

// stuck says at which barrier a play stopped and what had come until then.
func (s *session) stuck(t *Transcript, i int, server []byte, err error) error {
	var last []string
	ms := Messages(server)
	for _, m := range ms[max(0, len(ms)-3):] {
		last = append(last, m.String())
	}
	return fmt.Errorf("%s:%d: step %d, %v: %w; last came %q", t.File, t.Script[i].Line, i+1, t.Script[i].Wait, err, last)
}

// send writes a batch and returns a function that waits for the end of that.
func (s *session) send(b Batch, c Chunking) func() error {
	if len(b.Client) == 0 && !b.Cut {
		return func() error { return nil }
	}
	write := func() error {
		err := s.write(b.Client, c)
		if err == nil && b.Cut {
			err = s.closeWrite()
		}
		if b.Wait.EOF && closed(err) {
			return nil
		}
		return err
	}
	if len(b.Client) <= inlineWrite {
		err := write()
		return func() error { return err }
	}
	result := make(chan error, 1)
	go func() { result <- write() }()
	return func() error { return <-result }
}

// write puts bytes on the socket, cut as c says.
func (s *session) write(b []byte, c Chunking) error {
	for _, part := range c.parts(b) {
		if _, err := s.conn.Write(part); err != nil {
			return err
		}
		if s.peer != nil {
			if err := s.peer.awaitRead(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c Chunking) parts(b []byte) [][]byte {
	switch {
	case c.Bytewise:
		parts := make([][]byte, len(b))
		for i := range b {
			parts[i] = b[i : i+1]
		}
		return parts
	case c.Split > 0 && len(b) > 1 && c.Split%len(b) != 0:
		at := c.Split % len(b)
		return [][]byte{b[:at], b[at:]}
	case len(b) == 0:
		return nil
	}
	return [][]byte{b}
}

// await reads until the barrier is reached and returns all bytes up to there.
func (s *session) await(w Wait) ([]byte, error) {
	var got []byte
	if w.Nothing {
		return nil, nil
	}
	for count := 0; ; {
		msg, err := readMessage(s.r)
		if err != nil {
			if w.EOF && closed(err) {
				s.ended = true
				return got, nil
			}
			return got, err
		}
		got = append(got, msg...)
		if w.Row != "" && msg[0] == 'D' && bytes.Contains(msg, []byte(w.Row)) {
			w.Row = ""
		}
		if !w.EOF && w.Row == "" && msg[0] == w.Type {
			if count++; count == w.Count {
				return got, nil
			}
		}
	}
}

// closed reports the end of a stream. A reset counts: a server that closes with
// bytes unread has its kernel send one, which says nothing about the protocol.
func closed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) ||
		errors.Is(err, syscall.ENOTCONN)
}
