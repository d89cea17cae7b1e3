package corpus

import (
	"net"
	"time"
)

const (
	// slowBuffer is what a slow reader takes at a time, with slowPace between.
	slowBuffer = 32 << 10
	slowPace   = time.Millisecond
)

// slowReader is the connection of a client that is busy with something else.
type slowReader struct{ net.Conn }

// Read implements io.Reader.
func (r slowReader) Read(p []byte) (int, error) {
	time.Sleep(slowPace)
	return r.Conn.Read(p)
}
