package console

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pgvip/pgvip/wire"
)

const (
	// writeLimit is the patience with an operator who does not read.
	writeLimit = 10 * time.Second
	// showLimit is the patience with event loops that do not answer.
	showLimit = 5 * time.Second
	// flushFrom is how much output is gathered before it is sent.
	flushFrom = 32 << 10
)

// Why a command that waits ends early.
var (
	errCanceled = errors.New("canceled")
	errClosed   = errors.New("closed")
)

// session is one operator.
type session struct {
	// Immutable.
	server  *Server
	conn    net.Conn
	login   Login
	started time.Time

	requested atomic.Int64 // Unix nanoseconds of the last request

	// Guarded by mu.
	mu     sync.Mutex
	cancel context.CancelCauseFunc // of the command that waits; nil without one
	ended  error                   // why the session is over; nil while it is not
	gone   error                   // how the operator left; nil while it is there

	// Owned by run.
	out        []byte
	status     byte // for ReadyForQuery: 'I', or 'T' after BEGIN
	statements map[string]*statement
	portals    map[string]*portal
	skipping   bool // an error was sent, messages up to Sync are not carried out
	told       bool // a FATAL was sent
}

func newSession(v *Server, conn net.Conn, login Login) *session {
	s := &session{
		server: v, conn: conn, login: login, started: time.Now(), status: 'I',
		statements: map[string]*statement{}, portals: map[string]*portal{},
	}
	s.requested.Store(s.started.UnixNano())
	return s
}

// interrupt ends what the session waits for, if it does.
func (s *session) interrupt(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel(why)
	}
}

// waiting makes a context for what may take long. It ends early by interrupt, and
// when the operator is gone.
func (s *session) waiting() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(context.Background())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cancel = cancel
	if why := cmp.Or(s.ended, s.gone); why != nil {
		cancel(why)
	}
	return ctx, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cancel = nil
		cancel(nil)
	}
}

// left notes that the operator sends no more.
func (s *session) left(why error) {
	s.mu.Lock()
	s.gone = why
	s.mu.Unlock()
	s.interrupt(why)
}

// close ends the session: at once, or as soon as what it carries out is over.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended == nil {
		s.ended = errClosed
	}
	if s.cancel != nil {
		s.cancel(s.ended)
	}
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// over says why the session has ended, nil while it goes on.
func (s *session) over() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// request is one message of the operator's, or why there is none.
type request struct {
	typ  byte
	body []byte
	err  error
}

// run greets the operator and carries out what comes.
func (s *session) run() {
	s.greet()
	if s.flush() != nil {
		return
	}
	requests := make(chan request)
	done := make(chan struct{})
	var reading sync.WaitGroup
	reading.Go(func() { s.read(requests, done) })
	defer reading.Wait()
	defer s.conn.SetReadDeadline(time.Unix(1, 0)) // ends the reading
	defer close(done)
	for r := range requests {
		if r.err != nil {
			s.sayGoodbye(r.err)
			return
		}
		if r.typ == 'X' || s.handle(r.typ, r.body) != nil {
			return
		}
		if s.over() != nil {
			s.sayGoodbye(errClosed)
			return
		}
	}
}

// read reads ahead by one message, so that an operator who goes is noticed while a
// command waits.
func (s *session) read(requests chan<- request, done <-chan struct{}) {
	r := bufio.NewReader(io.MultiReader(bytes.NewReader(s.login.Unread), s.conn))
	for {
		typ, body, err := readMessage(r)
		switch {
		case err != nil:
			s.left(err)
		case typ == 'X':
			s.left(io.EOF)
		}
		select {
		case requests <- request{typ, body, err}:
		case <-done:
			return
		}
		if err != nil {
			return
		}
	}
}

// sayGoodbye tells an operator who is still there why the session ends.
func (s *session) sayGoodbye(err error) {
	var e *wire.Error
	switch {
	case s.over() != nil:
		e = errGoodbye()
	case !errors.As(err, &e):
		return
	}
	if !s.told {
		s.out = e.Append(s.out)
		s.flush()
	}
}

// greet sends what follows AuthenticationOk.
func (s *session) greet() {
	for _, p := range []wire.Param{
		{Name: "server_version", Value: bouncerVersion + "/bouncer"},
		{Name: "client_encoding", Value: "UTF8"},
		{Name: "server_encoding", Value: "UTF8"},
		{Name: "DateStyle", Value: "ISO"},
		{Name: "TimeZone", Value: "GMT"},
		{Name: "standard_conforming_strings", Value: "on"},
		{Name: "is_superuser", Value: "on"},
	} {
		s.out = wire.AppendParameterStatus(s.out, p)
	}
	s.out = wire.AppendBackendKeyData(s.out, s.login.ID, s.login.Key)
	s.out = wire.AppendReadyForQuery(s.out, s.status)
}

// handle carries out one message. An error means that the operator cannot be
// reached any more.
func (s *session) handle(typ byte, body []byte) error {
	s.requested.Store(time.Now().UnixNano())
	switch typ {
	case 'Q':
		s.query(body)
		return s.flush()
	case 'S':
		s.skipping = false
		s.out = wire.AppendReadyForQuery(s.out, s.status)
		return s.flush()
	case 'H':
		return s.flush()
	case 'c', 'd', 'f':
		return nil // the end of a COPY that there never was; as PostgreSQL
	}
	if s.skipping {
		return nil
	}
	if err := s.extended(typ, body); err != nil {
		s.tell(err)
		s.skipping = true
	}
	if len(s.out) >= flushFrom {
		return s.flush()
	}
	return nil
}

// query carries out a simple query.
func (s *session) query(body []byte) {
	d := &decoder{rest: body}
	sql := d.string()
	err := d.end()
	if err == nil {
		err = s.carryOut(sql)
	}
	if err != nil {
		s.tell(err)
	}
	s.skipping = false
	s.out = wire.AppendReadyForQuery(s.out, s.status)
}

func (s *session) carryOut(sql string) error {
	c, err := Parse(sql)
	if err != nil {
		return err
	}
	a, err := s.answer(c)
	if err != nil {
		return err
	}
	if a.columns != nil {
		s.out = appendRowDescription(s.out, a.columns, nil)
	}
	return s.send(a, nil, len(a.rows))
}

// answer is what a command says: rows, a notice, a tag.
type answer struct {
	columns []column
	rows    []row
	notice  string
	detail  string
	tag     string // empty: the query was
}

// send sends the first n rows of an answer, and its end if that is all.
func (s *session) send(a *answer, binaries formats, n int) error {
	for _, r := range a.rows[:n] {
		s.out = appendDataRow(s.out, a.columns, r, binaries)
		if len(s.out) >= flushFrom {
			if err := s.flush(); err != nil {
				return err
			}
		}
	}
	a.rows = a.rows[n:]
	switch {
	case len(a.rows) > 0:
		s.out = message(s.out, 's', func(b []byte) []byte { return b }) // PortalSuspended
	case a.tag == "":
		s.out = message(s.out, 'I', func(b []byte) []byte { return b }) // EmptyQueryResponse
	default:
		if a.notice != "" {
			s.out = appendNotice(s.out, a.notice, a.detail)
		}
		s.out = appendTag(s.out, a.tag)
	}
	return nil
}

// tell sends an error, after which the console goes on.
func (s *session) tell(err error) {
	var e *wire.Error
	if !errors.As(err, &e) {
		e = refuse(wire.CodeInternalError, err.Error(), "")
	}
	s.told = s.told || e.Fatal()
	s.out = e.Append(s.out)
}

func (s *session) flush() error {
	s.conn.SetWriteDeadline(time.Now().Add(writeLimit))
	_, err := s.conn.Write(s.out)
	s.out = s.out[:0]
	return err
}
