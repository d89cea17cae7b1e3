package address

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// connect makes a TCP connection from one host to an address that another one holds,
// and gives the client's end.
func connect(t *testing.T, client, server *host, vip netip.Addr) (near, far *net.TCPConn) {
	t.Helper()
	var ln *net.TCPListener
	at := net.TCPAddrFromAddrPort(netip.AddrPortFrom(vip, 5000))
	server.do(func() (err error) {
		ln, err = net.ListenTCP("tcp", at)
		return err
	})
	t.Cleanup(func() { _ = ln.Close() })
	client.do(func() (err error) {
		near, err = net.DialTCP("tcp", nil, at)
		return err
	})
	t.Cleanup(func() { _ = near.Close() })
	far, err := ln.AcceptTCP()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}

// flow is a connection as its server knows it.
func flow(near *net.TCPConn) beat.Flow {
	return beat.Flow{
		Client: near.LocalAddr().(*net.TCPAddr).AddrPort(),
		VIP:    near.RemoteAddr().(*net.TCPAddr).AddrPort(),
	}
}

// A client waits for an answer on a connection whose server vanished without a word.
func TestTickleResetsClientsOfTheDead(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 3)
	dead, heir, client := l.hosts[0], l.hosts[1], l.hosts[2]
	a, b := dead.open(both()), heir.open(both())
	stop := keep(t, a)
	a.Announce()
	var flows []beat.Flow
	var conns []*net.TCPConn
	for _, vip := range []netip.Addr{vip4, vip6} {
		near, _ := connect(t, client, dead, vip)
		flows = append(flows, flow(near))
		conns = append(conns, near)
	}
	stop()
	if err := l.hub.nl.LinkDel(l.hub.link("p1")); err != nil {
		t.Fatal(err)
	}
	keep(t, b)
	b.Announce()
	for _, ip := range []netip.Addr{vip4, vip6} {
		eventually(t, "the heir's MAC", func() bool { return client.neighbour(ip) == heir.mac.String() })
	}
	for _, c := range conns {
		// Takeover and announcement alone leave it waiting.
		if err := c.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatalf("the client of %s did not wait: %v", c.RemoteAddr(), err)
		}
	}
	began := boot()
	b.Tickle(flows)
	for _, c := range conns {
		if err := c.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("the client of %s: %v, want a reset", c.RemoteAddr(), err)
		}
		t.Logf("%s reset after %v", c.RemoteAddr(), boot()-began)
	}
	// The segment may be answered before the next line of its sender has run.
	eventually(t, "the count of both", func() bool { return b.Counters().Tickled == 2 })
}

func TestTickleSparesLivingConnections(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	p := l.hosts[0].open(both())
	keep(t, p)
	for _, vip := range []netip.Addr{vip4, vip6} {
		near, far := connect(t, l.hosts[1], l.hosts[0], vip)
		p.Tickle([]beat.Flow{flow(near)})
		eventually(t, "all rounds", func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			return len(p.tickles) == 0
		})
		if _, err := far.Write([]byte("x")); err != nil {
			t.Errorf("%s: %v", vip, err)
		}
		if err := near.SetReadDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		if _, err := near.Read(make([]byte, 1)); err != nil {
			t.Errorf("the client of %s: %v, want to be left alone", vip, err)
		}
	}
}

// The first segment may come before the client's neighbour cache moved.
func TestTickleComesThrice(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 2)
	p := l.hosts[0].open(both())
	keep(t, p)
	var s *socket
	l.hosts[1].do(func() (err error) {
		s, err = openSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_TCP)
		return err
	})
	defer s.close()
	p.Tickle([]beat.Flow{{
		Client: netip.MustParseAddrPort("10.9.0.2:40000"), VIP: netip.AddrPortFrom(vip4, 5000),
	}})
	n := 0
	eventually(t, "three segments", func() bool {
		s.drain(func(m message) { n++ })
		return n >= 3
	})
	eventually(t, "the end", func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return len(p.tickles) == 0
	})
	if n := p.Counters().Tickled; n != 1 { // and not three
		t.Errorf("%d clients counted, want 1", n)
	}
}

func TestTickleIsPacedAndEndsWithRelease(t *testing.T) {
	t.Parallel()
	l := newLAN(t, 1)
	p := l.hosts[0].open(both())
	flows := make([]beat.Flow, 2000)
	for i := range flows {
		flows[i] = beat.Flow{
			Client: netip.AddrPortFrom(netip.MustParseAddr("10.9.0.1"), uint16(10000+i)),
			VIP:    netip.AddrPortFrom(vip4, 5000),
		}
	}
	p.Tickle(flows) // not held: nothing
	keep(t, p)
	began := boot()
	p.Tickle(flows)
	p.Tickle([]beat.Flow{{Client: flows[0].Client, VIP: netip.MustParseAddrPort("10.9.0.99:5000")}})
	eventually(t, "all segments", func() bool { return p.Counters().Tickled == uint64(len(flows)) })
	least := time.Duration(len(flows)/tickleBurst-1) * ticklePause
	if took := boot() - began; took < least {
		t.Errorf("%d segments took %v, want at least %v", len(flows), took, least)
	}
	if err := p.Release(); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.tickles) != 0 {
		t.Errorf("%d bursts wait after Release", len(p.tickles))
	}
}
