package proxy

import (
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/wire"
)

// cause says who ended a session, for the log.
type cause string

const (
	causeClient     cause = "client closed"
	causeClientLost cause = "client connection lost"
	causeProtocol   cause = "client broke the protocol"
	causeServer     cause = "server closed"
	causeFenced     cause = "primary changed"
	causeRefused    cause = "no server"
	causeShutdown   cause = "pgvip is stopping"
	causeKilled     cause = "killed on the console"
)

func (p phase) String() string {
	switch p {
	case resting:
		return "resting"
	case parked:
		return "parked"
	case moving:
		return "moving"
	case queued:
		return "queued"
	case bound:
		return "bound"
	case ended:
		return "ended"
	default:
		panic("BUG: unknown phase")
	}
}

// logEnd writes the one line of a session's end: who ended it, and in which
// phase.
func (s *session) logEnd(why cause, was phase, err *wire.Error) {
	entry := s.proxy.log.Check(zap.InfoLevel, "session ended")
	if entry == nil {
		return
	}
	fields := []zap.Field{
		zap.Uint32("session", s.id), zap.String("db", s.who.database), zap.String("user", s.user),
		zap.Stringer("role", s.role), zap.String("cause", string(why)), zap.Stringer("phase", was),
		zap.Duration("took", time.Since(s.started).Round(time.Millisecond)),
	}
	if err != nil {
		fields = append(fields, zap.String("code", err.Code))
	}
	if s.left != 0 {
		fields = append(fields, zap.Stringer("session_state", s.left))
	}
	entry.Write(fields...)
}
