package proxy

import (
	"errors"
	"net"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/route"
)

// acceptPause is how long accepting rests after an error such as EMFILE: the
// descriptors it lacks come back when other clients leave.
const acceptPause = 50 * time.Millisecond

// acceptLoop accepts clients until its listener is closed.
func (p *Proxy) acceptLoop(l net.Listener, role route.Role) {
	for {
		if !p.unknown.place(p.ctx.Done()) {
			return
		}
		conn, err := l.Accept()
		if err == nil {
			p.running.Go(func() { p.login(conn, role) })
			continue
		}
		p.unknown.giveBack()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		p.log.Warn("accept", zap.Error(err), zap.Stringer("address", l.Addr()))
		select {
		case <-time.After(acceptPause):
		case <-p.ctx.Done():
			return
		}
	}
}
