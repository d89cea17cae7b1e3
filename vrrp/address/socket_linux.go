package address

import (
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// socket is a raw or packet socket of one Port. It is bound to no interface, because
// such a binding dies with the interface's index: what is sent names the interface,
// what comes says from where.
type socket struct {
	file *os.File
	conn syscall.RawConn

	// mu is held from the receipt of a packet until it is handled, so that drain
	// returns only when everything that had come is handled. The calls under it do
	// not wait.
	mu       sync.Mutex
	buf, oob []byte
}

// message is a packet; its slices are valid until the next one.
type message struct {
	b, oob []byte
	from   unix.Sockaddr
}

// batch bounds how many packets are handled in one go.
const batch = 64

// openSocket opens a socket that never blocks.
func openSocket(domain, typ, proto int) (*socket, error) {
	fd, err := unix.Socket(domain, typ|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, proto)
	if err != nil {
		return nil, fmt.Errorf("open a raw socket: %w", err)
	}
	s := &socket{file: os.NewFile(uintptr(fd), "raw"), buf: make([]byte, 2048), oob: make([]byte, 256)}
	if s.conn, err = s.file.SyscallConn(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// close ends serve.
func (s *socket) close() { _ = s.file.Close() } // nothing is buffered that could be lost

// control runs f with the file descriptor, which stays open meanwhile.
func (s *socket) control(f func(fd int) error) error {
	var inner error
	err := s.conn.Control(func(fd uintptr) { inner = f(int(fd)) })
	return errors.Join(err, inner)
}

// option is one setsockopt with a number.
type option struct{ level, name, value int }

// set sets options.
func (s *socket) set(options ...option) error {
	return s.control(func(fd int) error {
		for _, o := range options {
			if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
				return fmt.Errorf("socket option %d of level %d: %w", o.name, o.level, err)
			}
		}
		return nil
	})
}

// filter lets the kernel drop what the program returns 0 for.
func (s *socket) filter(prog []bpf.RawInstruction) error {
	raw := make([]unix.SockFilter, len(prog))
	for i, p := range prog {
		raw[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	return s.control(func(fd int) error {
		return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER,
			&unix.SockFprog{Len: uint16(len(raw)), Filter: &raw[0]})
	})
}

// send sends one packet now or not at all.
func (s *socket) send(b, oob []byte, to unix.Sockaddr) error {
	return s.control(func(fd int) error {
		_, err := unix.SendmsgN(fd, b, oob, to, unix.MSG_DONTWAIT)
		return err
	})
}

// serve hands over every packet until the socket is closed. Errors of the socket are
// those of single packets or of an interface that went; it goes on after them.
func (s *socket) serve(done <-chan struct{}, handle func(message)) {
	for {
		var failed error
		err := s.conn.Read(func(fd uintptr) bool {
			failed = s.receive(int(fd), handle)
			return !errors.Is(failed, unix.EAGAIN)
		})
		if err != nil {
			return
		}
		if failed != nil {
			select {
			case <-done:
				return
			case <-time.After(10 * time.Millisecond): // against a failure without end
			}
		}
	}
}

// drain handles what has come, and waits for nothing.
func (s *socket) drain(handle func(message)) {
	_ = s.control(func(fd int) error { return s.receive(fd, handle) }) // EAGAIN is what it is to come to
}

// receive handles up to a batch of packets.
func (s *socket) receive(fd int, handle func(message)) error {
	for range batch {
		if err := s.receiveOne(fd, handle); err != nil {
			return err
		}
	}
	return nil
}

// receiveOne handles one packet or returns EAGAIN.
func (s *socket) receiveOne(fd int, handle func(message)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n, oobn, _, from, err := unix.Recvmsg(fd, s.buf, s.oob, unix.MSG_DONTWAIT)
	if err != nil {
		return err
	}
	handle(message{s.buf[:n], s.oob[:oobn], from})
	return nil
}

// boot is the time since boot, suspension included.
func boot() time.Duration {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		panic("BUG: CLOCK_BOOTTIME: " + err.Error()) // it takes no argument that could be wrong
	}
	return time.Duration(t.Nano())
}
