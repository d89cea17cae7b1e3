package loop

import (
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The loops read and write without telling the Go scheduler (RawSyscall): the
// sockets are non-blocking, so each call returns within microseconds, and the
// bookkeeping of a system call that might block would cost as much as the call.

func rawRead(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_RECVFROM, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), 0, 0, 0)
	runtime.KeepAlive(b)
	return int(n), errno
}

func rawWrite(fd int, b []byte) (int, syscall.Errno) {
	n, _, errno := syscall.RawSyscall6(unix.SYS_SENDTO, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	runtime.KeepAlive(b)
	return int(n), errno
}

// arrived is the number of bytes in a socket's receive buffer.
func arrived(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.SIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

func tcpInfo(fd int) (Info, bool) {
	i, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return Info{}, false
	}
	return Info{
		Unacked: int(i.Unacked), Retransmits: int(i.Retransmits),
		LastAck: time.Duration(i.Last_ack_recv) * time.Millisecond, LastData: time.Duration(i.Last_data_recv) * time.Millisecond,
	}, true
}

// shutWrite sends FIN; the peer can still send.
func shutWrite(fd int) { _ = unix.Shutdown(fd, unix.SHUT_WR) }

func closeSocket(fd int) { _ = unix.Close(fd) }

// unacknowledged is how much of what was written the peer's kernel has not taken yet.
func unacknowledged(fd int) int {
	n, err := unix.IoctlGetInt(fd, unix.TIOCOUTQ) // SIOCOUTQ
	if err != nil {
		return 0
	}
	return n
}

// socketError is why a socket broke.
func socketError(fd int) syscall.Errno {
	errno, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err != nil || errno == 0 {
		return syscall.ECONNRESET
	}
	return syscall.Errno(errno)
}
