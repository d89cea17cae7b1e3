package proxy

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

const (
	// acceptPause is how long accepting rests after an error: the descriptors it
	// lacks come back when other clients leave.
	acceptPause = 50 * time.Millisecond

	// turnAwayTime is how long a client may take to read that there is no
	// descriptor for it. It has one meanwhile, and the others wait.
	turnAwayTime = 50 * time.Millisecond
)

// acceptor accepts the clients of one listener. It keeps a descriptor in reserve:
// when the process has no other left, clients are told so, instead of hanging in
// the listener's queue while nobody can say why.
type acceptor struct {
	proxy    *Proxy
	listener net.Listener
	role     route.Role
	spare    *os.File // nil while the reserve is in use
	trouble  bool     // the last accept failed
}

// run accepts clients until the listener is closed.
func (a *acceptor) run() {
	defer a.useReserve()
	p := a.proxy
	for p.unknown.place(p.ctx.Done()) {
		conn, err := a.listener.Accept()
		switch {
		case err == nil && !a.reserve():
			p.unknown.giveBack()
			a.turnAway(conn)
			a.reserve()
		case err == nil:
			a.trouble = false
			p.running.Go(func() { p.login(conn, a.role) })
		default:
			p.unknown.giveBack()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			a.failed(err)
		}
	}
}

// reserve opens the spare descriptor, and reports that it is there.
func (a *acceptor) reserve() bool {
	if a.spare == nil {
		// On an error it stays nil, and the next client is turned away.
		a.spare, _ = os.Open(os.DevNull)
	}
	return a.spare != nil
}

// useReserve gives the spare descriptor up.
func (a *acceptor) useReserve() {
	if a.spare != nil {
		a.spare.Close()
		a.spare = nil
	}
}

// failed handles an error of accept. Where a descriptor was missing, the next
// client gets the spare one; else accepting rests, so that an error that stays
// does not keep a processor busy.
func (a *acceptor) failed(err error) {
	if !a.trouble {
		a.trouble = true
		a.proxy.log.Warn("accept", zap.Error(err), zap.Stringer("address", a.listener.Addr()))
	}
	if a.spare != nil && (errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)) {
		// Linux says so before it looks whether anybody has come, and a reserve
		// that waits for somebody without being held is soon taken.
		if a.knocked() {
			a.useReserve()
		}
		return
	}
	select {
	case <-time.After(acceptPause):
	case <-a.proxy.ctx.Done():
	}
	a.reserve()
}

// knocked waits for acceptPause and reports whether there is a client to accept.
// It keeps a thread busy, which happens only while descriptors are lacking.
func (a *acceptor) knocked() bool {
	l, ok := a.listener.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	raw.Control(func(fd uintptr) {
		n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(acceptPause/time.Millisecond))
	})
	return n > 0
}

// turnAway tells a client that there is no descriptor for it.
func (a *acceptor) turnAway(conn net.Conn) {
	defer conn.Close()
	a.proxy.counters.TurnedAway.Add(1)
	e := wire.Fatal(wire.CodeTooManyConnections, "sorry, too many clients already",
		"pgvip has no file descriptor left: raise LimitNOFILE of its unit.")
	conn.SetDeadline(time.Now().Add(turnAwayTime))
	conn.Write(e.Append(nil))
	lingerClose(conn)
}
