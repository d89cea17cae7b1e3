package keeper

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// line is the keeper's end of the pair with the main process.
type line struct {
	conn *net.UnixConn
}

// openLine takes over the descriptor of the pair. One that is something else is
// left alone: it may be the Go runtime's own.
func openLine(fd int) (*line, error) {
	if !isPacketSocket(fd) {
		return nil, fmt.Errorf("descriptor %d is no packet socket", fd)
	}
	f := os.NewFile(uintptr(fd), "line")
	defer f.Close() // FileConn has its own
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	uc, ok := conn.(*net.UnixConn)
	if !ok || uc.LocalAddr().Network() != "unixpacket" {
		_ = conn.Close() // it is not ours
		return nil, errors.New("not a pair of packet sockets")
	}
	return &line{uc}, nil
}

// read waits for the next packet; io.EOF says that the main process is gone.
func (l *line) read(buf []byte) (beat.ToKeeper, error) {
	n, err := l.conn.Read(buf)
	switch {
	case err != nil:
		return beat.ToKeeper{}, io.EOF // whatever it is, nothing comes any more
	case n > beat.MaxPacket:
		return beat.ToKeeper{}, errors.New("a packet of the main process is too long")
	}
	var m beat.ToKeeper
	if err := json.Unmarshal(buf[:n], &m); err != nil {
		// Not the error's own text: it may quote what it has read, and that may be a key.
		return beat.ToKeeper{}, fmt.Errorf("a packet of %d bytes of the main process is not readable", n)
	}
	return m, nil
}

// send reports whether a packet could leave now: a main process that stands still
// takes none.
func (l *line) send(m beat.FromKeeper) bool {
	packet, err := json.Marshal(m)
	if err != nil {
		panic("BUG: " + err.Error()) // plain values
	}
	return len(packet) <= beat.MaxPacket && sendNow(l.conn, packet)
}

// serve reads packets into a channel until the end, and closes it.
func (l *line) serve(to chan<- arrival) {
	defer close(to)
	buf := make([]byte, beat.MaxPacket+1)
	for {
		m, err := l.read(buf)
		if errors.Is(err, io.EOF) {
			return
		}
		to <- arrival{m, err}
	}
}

// arrival is a packet of the main process, or why it could not be read.
type arrival struct {
	packet beat.ToKeeper
	err    error
}
