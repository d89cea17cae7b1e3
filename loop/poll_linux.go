package loop

import (
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"
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
//
// For park there is a second instance, the door, which Go's network poller watches:
// epfd is behind it only while the loop is parked. Were epfd itself watched there,
// each event would wake another thread for nothing while the loop is at work.
type poller struct {
	epfd     int
	wakefd   int
	door     *os.File
	doorfd   int // of door, which owns it
	raw      syscall.RawConn
	deadline time.Time // set on door

	// What scan, made once so that parking allocates nothing, works on.
	events []event
	ready  int
	scans  int // since park began
	scan   func(uintptr) bool
}

func openPoller() (*poller, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	p := &poller{epfd: epfd, wakefd: -1}
	if err := p.hangDoor(); err != nil {
		p.close()
		return nil, err
	}
	if p.wakefd, err = unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC); err != nil {
		p.close()
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	if err := p.control(unix.EPOLL_CTL_ADD, p.wakefd, eventRead, 0, 0); err != nil {
		p.close()
		return nil, err
	}
	p.scan = func(uintptr) bool {
		p.scans++
		p.ready = p.now(p.events)
		return p.ready > 0
	}
	return p, nil
}

// hangDoor makes the door, with epfd behind it and shut.
func (p *poller) hangDoor() error {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	// Only a non-blocking descriptor is taken by the network poller.
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return fmt.Errorf("epoll: %w", err)
	}
	p.door, p.doorfd = os.NewFile(uintptr(fd), "epoll"), fd
	if p.raw, err = p.door.SyscallConn(); err != nil {
		return fmt.Errorf("epoll: %w", err)
	}
	if err := unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, p.epfd, &event{}); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

func (p *poller) close() {
	if p.door != nil {
		p.door.Close()
	}
	if p.wakefd >= 0 {
		unix.Close(p.wakefd)
	}
	unix.Close(p.epfd)
}

// add begins to watch a socket, change watches it for something else, remove
// forgets it.
func (p *poller) add(fd int, want, slot, gen uint32) error {
	return p.control(unix.EPOLL_CTL_ADD, fd, want, slot, gen)
}

func (p *poller) change(fd int, want, slot, gen uint32) {
	_ = p.control(unix.EPOLL_CTL_MOD, fd, want, slot, gen) // fails for no socket that was added
}

func (p *poller) remove(fd int) {
	_ = unix.EpollCtl(p.epfd, unix.EPOLL_CTL_DEL, fd, nil) // it may be off already
}

func (p *poller) control(op, fd int, want, slot, gen uint32) error {
	ev := event{Events: want, Fd: int32(slot), Pad: int32(gen)}
	if err := unix.EpollCtl(p.epfd, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// wake makes a wait return, the one going on or else the next.
func (p *poller) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(p.wakefd, one[:]) // full means a wake-up is pending anyway
}

// woken takes the wake-up back.
func (p *poller) woken() {
	var b [8]byte
	_, _ = unix.Read(p.wakefd, b[:])
}

// now collects what is ready, without waiting and, as the socket calls, without
// telling the Go scheduler.
func (p *poller) now(events []event) int {
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), 0, 0, 0)
	if errno != 0 {
		return 0 // EINTR: somebody wants this thread, the caller will come back
	}
	return int(n)
}

// brief waits for events for so long at most, and holds the processor meanwhile: the
// Go scheduler does not know. A signal, with which the scheduler asks for the
// processor, ends it.
func (p *poller) brief(events []event, d time.Duration) int {
	ts := unix.NsecToTimespec(int64(max(d, 0)))
	n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(p.epfd), uintptr(unsafe.Pointer(unsafe.SliceData(events))), uintptr(len(events)), uintptr(unsafe.Pointer(&ts)), 0, 0)
	if errno != 0 {
		// The call is unknown before Linux 5.11 and forbidden in some containers.
		return p.now(events)
	}
	return int(n)
}

// park waits for events until a time, the zero time being never, as a goroutine
// that waits for a socket does: the scheduler gives its processor away.
func (p *poller) park(events []event, until time.Time) int {
	if !until.Equal(p.deadline) {
		p.deadline = until
		_ = p.door.SetReadDeadline(until) // fails for no descriptor that can be polled
	}
	p.events, p.ready, p.scans = events, 0, 0
	p.open(eventRead)
	_ = p.raw.Read(p.scan) // an error is the deadline
	p.open(0)
	if p.scans > 1 {
		relieve()
	}
	return p.ready
}

// relieve has another thread watch Go's network poller after a loop was woken by it:
// the one that did so runs the loop now. The scheduler counts on its monitor for that,
// which a system call wakes when it sleeps too, and a loop makes none that the scheduler
// knows of: while sockets keep the loop busy, no other goroutine would hear of its
// own, for seconds. Gosched asks for a thread that looks for work, which ends in the
// poller.
func relieve() { runtime.Gosched() }

// open opens the door, or shuts it with 0.
func (p *poller) open(want uint32) {
	_ = unix.EpollCtl(p.doorfd, unix.EPOLL_CTL_MOD, p.epfd, &event{Events: want}) // fails for nothing that was added
}
