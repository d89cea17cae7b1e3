package cluster

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

const (
	// maxPacket is the largest datagram there is.
	maxPacket = 64 << 10
	// receiveBuffer holds what comes while nobody reads, if the kernel allows it.
	receiveBuffer = 2 << 20
	// maxStreams bounds the connections of one peer at one time. memberlist reads up
	// to 20 MB from each before it knows that the key is right.
	maxStreams = 32
	// acceptPause is how long accepting rests after an error.
	acceptPause = 50 * time.Millisecond
)

// transport is memberlist's way to the network. It differs from the library's own
// in that strangers are not listened to, that everything leaves from the node's
// own address, which is what peers know it by, and that nothing is left of it after
// Shutdown.
type transport struct {
	// Immutable.
	self    netip.AddrPort
	admits  func(netip.Addr) bool
	filter  func(to netip.AddrPort) bool
	packets chan *memberlist.Packet // never closed, as memberlist expects
	streams chan net.Conn           // likewise
	closing chan struct{}           // closed by Shutdown
	udp     *net.UDPConn
	tcp     *net.TCPListener
	running sync.WaitGroup // of readers, and of connections that are open

	strangers atomic.Uint64 // packets and connections from who is no peer
	crowded   atomic.Uint64 // connections beyond maxStreams

	mu     sync.Mutex
	open   map[*stream]struct{} // guarded by mu
	closed bool                 // guarded by mu
	count  map[netip.Addr]int   // guarded by mu; accepted ones by peer
}

// stream is a connection that the transport knows of until it is closed.
type stream struct {
	net.Conn
	of   *transport
	from netip.Addr // of an accepted one
	once sync.Once
}

// newTransport listens on self for UDP and TCP.
func newTransport(self netip.AddrPort, admits func(netip.Addr) bool, filter func(netip.AddrPort) bool) (*transport, error) {
	tcp, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(self))
	if err != nil {
		return nil, err
	}
	udp, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(self))
	if err != nil {
		tcp.Close()
		return nil, err
	}
	_ = udp.SetReadBuffer(receiveBuffer) // less will do
	t := &transport{
		self: self, admits: admits, filter: filter, tcp: tcp, udp: udp,
		packets: make(chan *memberlist.Packet), streams: make(chan net.Conn), closing: make(chan struct{}),
		open: make(map[*stream]struct{}), count: make(map[netip.Addr]int),
	}
	t.running.Go(t.receive)
	t.running.Go(t.accept)
	return t, nil
}

// receive passes on what peers send by UDP.
func (t *transport) receive() {
	buf := make([]byte, maxPacket)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		at := time.Now()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil || n == 0: // such as an ICMP message to an earlier packet
			continue
		case !t.admits(from.Addr().Unmap()):
			t.strangers.Add(1)
			continue
		}
		packet := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: at}
		select {
		case t.packets <- packet:
		case <-t.closing:
			return
		}
	}
}

// accept passes on connections of peers.
func (t *transport) accept() {
	for {
		conn, err := t.tcp.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			select {
			case <-time.After(acceptPause):
				continue
			case <-t.closing:
				return
			}
		}
		s := t.admit(conn)
		if s == nil {
			conn.Close()
			continue
		}
		select {
		case t.streams <- s:
		case <-t.closing:
			s.Close()
			return
		}
	}
}

// admit takes a connection on, or returns nil.
func (t *transport) admit(conn *net.TCPConn) *stream {
	from := conn.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap()
	if !t.admits(from) {
		t.strangers.Add(1)
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.count[from] >= maxStreams {
		t.crowded.Add(1)
		return nil
	}
	s := t.trackLocked(conn, from)
	if s != nil {
		t.count[from]++
	}
	return s
}

func (t *transport) trackLocked(conn net.Conn, from netip.Addr) *stream {
	if t.closed {
		return nil
	}
	s := &stream{Conn: conn, of: t, from: from}
	t.open[s] = struct{}{}
	t.running.Add(1)
	return s
}

// Write implements net.Conn. One that fails closes the connection: memberlist forgets
// it when it was the label that could not be written.
func (s *stream) Write(b []byte) (int, error) {
	n, err := s.Conn.Write(b)
	if err != nil {
		s.Close()
	}
	return n, err
}

// Close implements net.Conn.
func (s *stream) Close() error {
	err := s.Conn.Close()
	s.once.Do(func() {
		t := s.of
		t.mu.Lock()
		delete(t.open, s)
		if s.from.IsValid() {
			if t.count[s.from]--; t.count[s.from] == 0 {
				delete(t.count, s.from)
			}
		}
		t.mu.Unlock()
		t.running.Done()
	})
	return err
}

// FinalAdvertiseAddr implements memberlist.Transport.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.self.Addr().AsSlice(), int(t.self.Port()), nil
}

// WriteTo implements memberlist.Transport.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	return t.WriteToAddress(b, memberlist.Address{Addr: addr})
}

// WriteToAddress implements memberlist.NodeAwareTransport.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return time.Time{}, err
	}
	if t.filter != nil && !t.filter(to) {
		return time.Now(), nil
	}
	_, err = t.udp.WriteToUDPAddrPort(b, to)
	return time.Now(), err
}

// errFiltered is what a test that cuts a network makes of a connection.
var errFiltered = errors.New("network is cut")

// DialTimeout implements memberlist.Transport.
func (t *transport) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

// DialAddressTimeout implements memberlist.NodeAwareTransport.
func (t *transport) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	to, err := netip.ParseAddrPort(a.Addr)
	if err != nil {
		return nil, err
	}
	if t.filter != nil && !t.filter(to) {
		return nil, errFiltered
	}
	from := net.TCPAddrFromAddrPort(netip.AddrPortFrom(t.self.Addr(), 0))
	conn, err := (&net.Dialer{Timeout: timeout, LocalAddr: from}).Dial("tcp", to.String())
	if err != nil {
		return nil, err
	}
	// Until the first deadline of memberlist's own nothing else bounds it.
	conn.SetDeadline(time.Now().Add(timeout))
	t.mu.Lock()
	s := t.trackLocked(conn, netip.Addr{})
	t.mu.Unlock()
	if s == nil {
		conn.Close()
		return nil, net.ErrClosed
	}
	return s, nil
}

// PacketCh implements memberlist.Transport.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh implements memberlist.Transport.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// Shutdown implements memberlist.Transport. It closes every connection itself:
// memberlist loses one whose label it could not write.
func (t *transport) Shutdown() error {
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return nil
	}
	t.closed = true
	open := slices.Collect(maps.Keys(t.open))
	t.mu.Unlock()
	for _, s := range open {
		s.Close()
	}
	close(t.closing)
	t.tcp.Close()
	t.udp.Close()
	t.running.Wait()
	return nil
}

// bindAddress finds the address that host:port stands for on this node.
func bindAddress(address string) (netip.AddrPort, error) {
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(text, 10, 16)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("port %q: %w", text, err)
	}
	if ip, err := netip.ParseAddr(host); err == nil {
		if ip.IsUnspecified() {
			return netip.AddrPort{}, fmt.Errorf("%s is every address: peers have to know one", host)
		}
		return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
	}
	ips, err := net.LookupIP(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	ip, _ := netip.AddrFromSlice(ips[0])
	return netip.AddrPortFrom(ip.Unmap(), uint16(port)), nil
}
