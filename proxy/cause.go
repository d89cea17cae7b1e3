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
	causeReplaced   cause = "server replaced"
	causeKilled     cause = "killed on the console"
	causeMoved      cause = "virtual IP moved"
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

// logBegin writes the line of a login.
func (a *attempt) logBegin(s *session) {
	if !a.proxy.settings.Load().Log.Connections {
		return
	}
	a.proxy.log.Info("login", zap.Uint32("session", s.id), zap.Stringer("client", a.client),
		zap.String("db", s.who.database), zap.String("user", s.user), zap.Stringer("role", s.role), zap.Bool("tls", a.tlsState != nil))
}

// logRefusal writes that of a login that came to nothing.
func (a *attempt) logRefusal(fields ...zap.Field) {
	if a.proxy.settings.Load().Log.PoolerErrors {
		a.proxy.log.Info("login refused", append([]zap.Field{zap.Stringer("client", a.client), zap.Stringer("role", a.role)}, fields...)...)
	}
}

// logEnd writes the one line of a session's end: who ended it, and in which
// phase.
func (s *session) logEnd(why cause, was phase, err *wire.Error) {
	if l := s.proxy.settings.Load().Log; !l.Disconnections && (err == nil || !l.PoolerErrors) {
		return
	}
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
