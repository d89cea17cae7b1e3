package cluster

import (
	"bytes"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Bounds on memberlist's lines: whoever sends rubbish must not fill the log.
const (
	logBurst = 10
	logPace  = time.Second // each, beyond that
	maxLine  = 300
)

// logWriter makes memberlist's lines those of our log. What operators need to know
// comes as an Event; these are for whoever looks closer.
type logWriter struct {
	log *zap.Logger

	mu      sync.Mutex
	closed  bool      // guarded by mu
	paid    time.Time // guarded by mu; when all lines written have been paid for
	dropped int       // guarded by mu; lines left out since the last one
}

// Write takes one line, "[LEVEL] memberlist: text".
func (w *logWriter) Write(line []byte) (int, error) {
	text := bytes.TrimSpace(line)
	level := []byte("WARN")
	if rest, ok := bytes.CutPrefix(text, []byte("[")); ok {
		if l, after, ok := bytes.Cut(rest, []byte("] ")); ok {
			level, text = l, after
		}
	}
	text = bytes.TrimPrefix(text, []byte("memberlist: "))
	text = text[:min(len(text), maxLine)]
	if bytes.HasPrefix(text, []byte("Refuting")) || bytes.Contains(text, []byte(net.ErrClosed.Error())) {
		level = []byte("INFO") // every restart has one, and every end
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	switch string(level) {
	case "DEBUG", "INFO":
		if !w.closed {
			w.log.Debug("memberlist", zap.ByteString("text", text))
		}
	default:
		if dropped, ok := w.mayWarnLocked(time.Now()); ok && !w.closed {
			w.log.Warn("memberlist", zap.ByteString("text", text), zap.Int("left_out", dropped))
		}
	}
	return len(line), nil
}

// close ends the writing: memberlist's goroutines see an end only after the round
// of probes that they are in.
func (w *logWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.closed = true
}

func (w *logWriter) mayWarnLocked(now time.Time) (dropped int, ok bool) {
	if w.paid.Sub(now) >= logBurst*logPace {
		w.dropped++
		return 0, false
	}
	if w.paid.Before(now) {
		w.paid = now
	}
	w.paid = w.paid.Add(logPace)
	dropped, w.dropped = w.dropped, 0
	return dropped, true
}
