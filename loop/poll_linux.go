package loop

import (
	"fmt"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// What a socket can be watched for. Epoll reports eventHangUp and eventError
// whether they were asked for or not, as long as they last.
const (
	eventRead   = unix.EPOLLIN
	eventWrite  = unix.EPOLLOUT
	eventFinish = unix.EPOLLRDHUP // the peer will send no more
	eventHangUp = unix.EPOLLHUP   // nothing can be sent or received any more
	eventError  = unix.EPOLLERR
)

// event is what epoll reports: Fd carries the slot of the connection, Pad its
// generation.
type event = unix.EpollEvent

// poller is an epoll instance and the descriptor that wakes it, in slot 0.
type poller struct {
	epfd   int
	wakefd int
}

func openPoller() (poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return poller{}, fmt.Errorf("epoll_create1: %w", err)
	}
	wakefd, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epfd)
		return poller{}, fmt.Errorf("eventfd: %w", err)
	}
	p := poller{epfd, wakefd}
	if err := p.control(unix.EPOLL_CTL_ADD, wakefd, eventRead, 0, 0); err != nil {
		p.close()
		return poller{}, err
	}
	return p, nil
}

func (p poller) close() {
	unix.Close(p.wakefd)
	unix.Close(p.epfd)
}

// add begins to watch a socket, change watches it for something else, remove
// forgets it.
func (p poller) add(fd int, want, slot, gen uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, want, slot, gen)
}

func (p poller) change(fd int, want, slot, gen uint32) {
	_ = p.control(unix.EPOLL_CTL_MOD, fd, want, slot, gen) // fails for no socket that was added
}

func (p poller) remove(fd int) {
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil) // it may be off already
}

func (p poller) control(op, fd int, want, slot, gen uint32) error {
	ev := event{Events: want, Fd: int32(slot), Pad: int32(gen)}
	if err := unix.EpollCtl(p.epfd, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wake makes a wait return, the one going on or else the next.
func (p poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakefd, one[:]) // full means a wake-up is pending anyway
}

// woken takes the wake-up back.
func (p poller) woken() {
	var b [8]byte
	_, _ = unix.Read(p.wakefd, b[:])
}

// now collects what is ready within ms milliseconds, without telling the Go
// scheduler; as the socket calls.
func (p poller) now(events []event, ms int) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return 0 // EINTR: somebody wants this thread, the caller will come back
	}
	return int(n)
}

// wait waits for events, at most ms milliseconds; -1 is for ever.
func (p poller) wait(events []event, ms int) int {
	n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(ms), 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}
