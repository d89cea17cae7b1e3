package loop

import "time"

// Info is the kernel's account of a connection.
type Info struct {
	Unacked     int           // segments that were sent and not acknowledged
	Retransmits int           // in a row, of the oldest of these
	LastAck     time.Duration // since an acknowledgment came
	LastData    time.Duration // since data came
}

// Info asks the kernel, which is a system call. It returns false where there is no
// answer, as for a Unix socket.
func (c *Conn) Info() (Info, bool) {
	if c.Closed() {
		return Info{}, false
	}
	return tcpInfo(int(c.fd))
}
