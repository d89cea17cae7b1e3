package pool

import "strings"

// State is session state that a client has, or may have, left on its server, and
// that PostgreSQL does not report. A set of bits.
type State uint16

// Kinds of session state.
const (
	StateSettings State = 1 << iota // SET or set_config of a parameter that is not reported
	StateListen                     // LISTEN
	StateTemp                       // temporary tables and the like
	StateLocks                      // advisory locks of the session
	StateCursors                    // cursors WITH HOLD
	StatePrepared                   // PREPARE in SQL
	StateLibrary                    // LOAD
	StateUnknown                    // our own statement failed half-way
)

var stateNames = [...]string{"settings", "listen", "temporary tables", "advisory locks", "cursors", "prepared statements", "libraries", "unknown"}

// String lists the kinds.
func (s State) String() string {
	var names []string
	for i, name := range stateNames {
		if s&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, ", ")
}

// StatePolicy says what becomes of session state at the end of a transaction,
// where the server is shared: session_state of the configuration.
type StatePolicy uint8

// Policies.
const (
	// ResetState cleans the server before anybody else gets it. LISTEN keeps it
	// for the client instead: notifications would never come.
	ResetState StatePolicy = iota
	// PinState keeps the server for the client as long as the state is there.
	PinState
	// RefuseState does not let the client make any.
	RefuseState
)

// keeps reports that the client with this state keeps its server.
func (p StatePolicy) keeps(s State) bool {
	return s&StateListen != 0 || p == PinState && s != 0
}

// Soil notes session state that the message noted last may leave behind.
func (s *Server) Soil(kind State) {
	s.dirty |= kind
	s.dirtied = s.replies.Last()
}

// cleansed goes on behind the client's own DISCARD ALL. What was sent behind that,
// in the same pipeline, is still to be made.
func (s *Server) cleansed() {
	if s.dirtied <= s.replies.Done() {
		s.dirty = 0
	}
}

// Dirty is the session state that the client may have left so far.
func (s *Server) Dirty() State { return s.dirty }

// Tracks reports a parameter that the server reports: its value is followed, and
// setting it leaves nothing behind.
func (s *Server) Tracks(name string) bool {
	reported := s.reports(name)
	return reported != "" && !informative[reported]
}

// Mode is the pool's when its client got the server.
func (s *Server) Mode() Mode { return s.mode }

// Shared reports that the server goes to others between its client's
// transactions.
func (s *Server) Shared() bool { return s.mode != SessionMode && s.pool.params == nil }

// Refuses reports that clients may not make session state.
func (s *Server) Refuses() bool { return s.pool.rules.SessionState == RefuseState }

// Done reports that the client's transaction is over and the server may be taken
// back and lent to somebody else.
func (s *Server) Done() bool {
	r := &s.pool.rules
	return s.Shared() && s.replies.Free() && !s.holding && s.chore == noChore &&
		!r.SessionState.keeps(s.dirty)
}

// cleaning is the statement that makes the server fit for anybody else, empty
// when it is already.
func (s *Server) cleaning() string {
	r := &s.pool.rules
	switch {
	case s.mode == SessionMode, r.ServerResetQuery != "" && s.pool.set.settings.Load().ServerResetQueryAlways:
		return r.ServerResetQuery
	case s.dirty == 0:
		return ""
	case r.ServerResetQuery == "":
		return "DISCARD ALL"
	default:
		return r.ServerResetQuery
	}
}
