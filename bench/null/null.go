// Package null is a PostgreSQL server without a database: it speaks the
// protocol of PostgreSQL 15, trusts everybody and answers each statement with a
// canned result at once. In front of it a pooler is the larger part of the CPU,
// so a difference of a few per cent becomes visible; in front of PostgreSQL it
// drowns. Decisions are made with it, claims with PostgreSQL.
//
//	SELECT null_rows(n, bytes)   n rows of one text column of that many bytes
//	SELECT null_error('57P01')   an ErrorResponse with that SQLSTATE
//	COPY ... FROM STDIN          takes the data and counts the messages
//	COPY (SELECT null_rows(n, bytes)) TO STDOUT
//	SELECT abalance FROM ...     one int4, as pgbench -S expects it
//	any other SELECT             one row; each item by what it looks like
//	BEGIN, COMMIT, SET, SHOW, DISCARD ALL, ...   their command tags and effects
//
// A result leaves in one write, however large. The package holds no data and
// checks no SQL; it is no fake for tests of behaviour.
package null

import (
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
)

// SystemID is the system identifier that the server reports and that belongs
// into Patroni's "initialize" key when a pooler is to find it through etcd.
const SystemID = "7300000000000000001"

// Server is a null backend that listens. Close ends it.
type Server struct {
	listener net.Listener
	group    sync.WaitGroup
	cancels  atomic.Int64
	nextPID  atomic.Uint32

	mu      sync.Mutex
	conns   map[net.Conn]struct{} // guarded by mu
	closing bool                  // guarded by mu
}

// Listen starts a server on a TCP address; port 0 picks a free one. The caller
// closes it.
func Listen(address string) (*Server, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("null backend: %w", err)
	}
	s := &Server{listener: listener, conns: make(map[net.Conn]struct{})}
	s.group.Go(s.accept)
	return s, nil
}

// Addr is where the server listens.
func (s *Server) Addr() net.Addr { return s.listener.Addr() }

// Cancels is the number of CancelRequests received so far. They have no other
// effect: nothing here runs long enough to be cancelled.
func (s *Server) Cancels() int64 { return s.cancels.Load() }

// Close ends the listener and every connection and waits for their goroutines.
func (s *Server) Close() error {
	err := s.listener.Close()
	s.mu.Lock()
	s.closing = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.group.Wait()
	return err
}

// accept takes connections until Close; each gets a goroutine of its own.
func (s *Server) accept() {
	for {
		sock, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // EMFILE and aborted connections: the next one may do
		}
		if !s.adopt(sock) {
			sock.Close()
			return
		}
		s.group.Go(func() {
			defer s.forget(sock)
			newConn(s, sock).run()
		})
	}
}

// adopt notes a connection for Close; false when Close has been called already.
func (s *Server) adopt(sock net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.conns[sock] = struct{}{}
	return true
}

func (s *Server) forget(sock net.Conn) {
	sock.Close()
	s.mu.Lock()
	delete(s.conns, sock)
	s.mu.Unlock()
}
