package tlsconf

import "net"

// Socket is what lies under a tls.Conn: at first a connection that blocks, and
// once an event loop has taken it over, that loop. A tls.Conn keeps what it was
// made with, so this is where the change takes place; whoever makes it owns the
// tls.Conn.
type Socket struct{ net.Conn }
