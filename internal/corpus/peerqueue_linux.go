package corpus

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// awaitLimit is how long a cut write waits for a peer that does not read. A
// server that works on a query reads nothing until it is done, and must not
// stop the play; the split is then merely not seen as one.
const awaitLimit = 20 * time.Millisecond

// Netlink numbers of linux/inet_diag.h and linux/sock_diag.h.
const (
	sockDiagByFamily = 20
	diagRequestSize  = 16 + 56 // nlmsghdr + inet_diag_req_v2
	diagMessageSize  = 72      // inet_diag_msg
	rqueueOffset     = 16 + 56 // in the answer: nlmsghdr, then idiag_rqueue
)

// peerQueue asks the kernel how many bytes the process at the other end of a
// loopback connection has not read yet. That is what makes a split certain:
// two writes alone may well be read as one.
type peerQueue struct {
	fd      int
	request []byte
	answer  []byte
}

// newPeerQueue takes the addresses of conn, whose other end must be a socket of
// this machine and this network namespace.
func newPeerQueue(conn *net.TCPConn) (*peerQueue, error) {
	own, ok := conn.LocalAddr().(*net.TCPAddr)
	peer, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok || !ok2 || own.IP.To4() == nil || peer.IP.To4() == nil {
		return nil, fmt.Errorf("peer queue: %v is not IPv4", conn.RemoteAddr())
	}
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return nil, fmt.Errorf("peer queue: %w", err)
	}
	return &peerQueue{fd: fd, request: diagRequest(peer, own), answer: make([]byte, 4096)}, nil
}

// AwaitRead returns when the process at the other end of a loopback connection
// has read all that was written to it, or after 20 ms in which it has not. It is
// for tests in which the order of two writes on two connections must be certain.
func AwaitRead(conn *net.TCPConn) error {
	q, err := newPeerQueue(conn)
	if err != nil {
		return err
	}
	defer q.close()
	return q.awaitRead()
}

// diagRequest asks for the one TCP socket bound to local and connected to remote.
func diagRequest(local, remote *net.TCPAddr) []byte {
	b := make([]byte, diagRequestSize)
	binary.NativeEndian.PutUint32(b[0:], diagRequestSize)
	binary.NativeEndian.PutUint16(b[4:], sockDiagByFamily)
	binary.NativeEndian.PutUint16(b[6:], unix.NLM_F_REQUEST)
	b[16], b[17] = unix.AF_INET, unix.IPPROTO_TCP
	binary.NativeEndian.PutUint32(b[20:], 0xffffffff) // any state
	binary.BigEndian.PutUint16(b[24:], uint16(local.Port))
	binary.BigEndian.PutUint16(b[26:], uint16(remote.Port))
	copy(b[28:], local.IP.To4())
	copy(b[44:], remote.IP.To4())
	// INET_DIAG_NOCOOKIE: we do not know the socket's cookie.
	binary.NativeEndian.PutUint64(b[64:], 0xffffffffffffffff)
	return b
}

func (q *peerQueue) close() {
	unix.Close(q.fd)
}

// awaitRead returns when the peer has read everything, has gone, or awaitLimit
// has passed.
func (q *peerQueue) awaitRead() error {
	start := time.Now()
	for pause := int64(20_000); time.Since(start) < awaitLimit; pause = min(2*pause, 500_000) {
		n, err := q.unread()
		if err != nil || n == 0 {
			return err
		}
		// The kernel offers no event for this, so it is polled. The pause lets
		// the peer, which may need this very CPU, do its reading. time.Sleep
		// would take a whole millisecond: epoll_wait has no finer unit.
		unix.Nanosleep(&unix.Timespec{Nsec: pause}, nil)
	}
	return nil
}

func (q *peerQueue) unread() (uint32, error) {
	if err := unix.Sendto(q.fd, q.request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, fmt.Errorf("peer queue: %w", err)
	}
	n, _, err := unix.Recvfrom(q.fd, q.answer, 0)
	if err != nil {
		return 0, fmt.Errorf("peer queue: %w", err)
	}
	return diagQueue(q.answer[:n])
}

// diagQueue reads idiag_rqueue. No such socket means that the peer has closed.
func diagQueue(b []byte) (uint32, error) {
	if len(b) >= 20 && binary.NativeEndian.Uint16(b[4:]) == unix.NLMSG_ERROR {
		errno := unix.Errno(-int32(binary.NativeEndian.Uint32(b[16:])))
		if errno == unix.ENOENT || errno == unix.ESTALE {
			return 0, nil
		}
		return 0, fmt.Errorf("peer queue: %w", errno)
	}
	if len(b) < 16+diagMessageSize {
		return 0, errors.New("peer queue: short answer")
	}
	return binary.NativeEndian.Uint32(b[rqueueOffset:]), nil
}
