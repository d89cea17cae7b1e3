package echo

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// rebindEvery is how long after a socket was lost, or its address was not on
	// this machine, it is tried again.
	rebindEvery = 200 * time.Millisecond
	// greetEvery bounds how often a peer's greetings are answered.
	greetEvery = 10 * time.Millisecond
)

// Peer is a node and its ends of the paths.
type Peer struct {
	Name  string
	Addrs []netip.AddrPort
}

// Received is a datagram of a peer, or why one was not believed.
type Received struct {
	Opened
	Path int           // which local end it came to
	At   time.Duration // by Options.Now
	Err  error         // ErrStranger or ErrTwin, and nothing to believe
}

// Options are what Paths work by.
type Options struct {
	Locals []netip.AddrPort
	Peers  []Peer
	Now    func() time.Duration
	// Deliver takes what comes; it is called by one goroutine for each path.
	Deliver func(Received)
}

// Paths are the UDP sockets that datagrams leave and come by, one for each local
// address. A message leaves over all of them.
type Paths struct {
	// Immutable.
	opt    Options
	routes map[string][]route

	mu     sync.Mutex
	codec  *Codec         // guarded by mu
	conns  []*net.UDPConn // guarded by mu; nil while not bound
	greets map[string]time.Duration
}

// route is one way to a peer.
type route struct {
	local  int
	remote netip.AddrPort
}

// NewPaths makes the paths; Run opens them.
func NewPaths(codec *Codec, opt Options) *Paths {
	p := &Paths{opt: opt, codec: codec, conns: make([]*net.UDPConn, len(opt.Locals)),
		routes: map[string][]route{}, greets: map[string]time.Duration{}}
	for _, peer := range opt.Peers {
		for i, remote := range peer.Addrs {
			if local := pick(opt.Locals, i, remote); local >= 0 {
				p.routes[peer.Name] = append(p.routes[peer.Name], route{local, remote})
			}
		}
	}
	return p
}

// pick gives the local end for a peer's i-th one: the i-th, or where there is
// none or it is of the other family the first that is not.
func pick(locals []netip.AddrPort, i int, remote netip.AddrPort) int {
	fits := func(l int) bool { return locals[l].Addr().Is4() == remote.Addr().Is4() }
	if i < len(locals) && fits(i) {
		return i
	}
	for l := range locals {
		if fits(l) {
			return l
		}
	}
	return -1
}

// Run keeps the sockets open and reads them until ctx ends.
func (p *Paths) Run(ctx context.Context) {
	var running sync.WaitGroup
	for i := range p.opt.Locals {
		running.Go(func() { p.serve(ctx, i) })
	}
	running.Wait()
}

func (p *Paths) serve(ctx context.Context, path int) {
	for ctx.Err() == nil {
		conn, err := listen(ctx, p.opt.Locals[path])
		if err == nil {
			p.bind(path, conn)
			stop := context.AfterFunc(ctx, func() { _ = conn.Close() }) // its reader is to end, and does
			p.read(path, conn)
			stop()
			p.bind(path, nil)
			_ = conn.Close() // nothing is lost with it
		}
		t := time.NewTimer(rebindEvery)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

func (p *Paths) bind(path int, conn *net.UDPConn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.conns[path] = conn
}

// Bound reports of each local end whether its socket is open.
func (p *Paths) Bound() []bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	bound := make([]bool, len(p.conns))
	for i, c := range p.conns {
		bound[i] = c != nil
	}
	return bound
}

// Send sends a message to a peer over every path. It never waits: a message that
// cannot leave now is lost, as on the way.
func (p *Paths) Send(to string, message []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range p.routes[to] {
		if err := p.sendLocked(r, to, message); err != nil {
			return err
		}
	}
	return nil
}

func (p *Paths) sendLocked(r route, to string, message []byte) error {
	conn := p.conns[r.local]
	if conn == nil {
		return nil
	}
	datagram, err := p.codec.Seal(to, message)
	if err != nil {
		return err
	}
	transmit(conn, datagram, r.remote)
	return nil
}

// read delivers what comes to one path until its socket fails.
func (p *Paths) read(path int, conn *net.UDPConn) {
	buf := make([]byte, MaxDatagram+1)
	for {
		n, _, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if r, ok := p.open(path, buf[:n]); ok {
			p.opt.Deliver(r)
		}
	}
}

// open reports whether there is something to deliver, and answers a greeting.
func (p *Paths) open(path int, datagram []byte) (Received, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := Received{Path: path, At: p.opt.Now()}
	r.Opened, r.Err = p.codec.Open(r.At, datagram)
	switch {
	case r.Err != nil:
		return r, errors.Is(r.Err, ErrStranger) || errors.Is(r.Err, ErrTwin)
	case r.Greeting:
		p.greetLocked(r.From, r.At)
		return r, false
	}
	return r, len(r.Message) > 0
}

// greetLocked answers a greeting over all paths of the peer: its sender then
// knows this keeper's boot.
func (p *Paths) greetLocked(to string, now time.Duration) {
	if last, ok := p.greets[to]; ok && now-last < greetEvery {
		return
	}
	p.greets[to] = now
	for _, r := range p.routes[to] {
		// An empty message fits, and the peer is known: there is no other error.
		_ = p.sendLocked(r, to, nil)
	}
}
