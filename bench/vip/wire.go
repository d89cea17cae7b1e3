package vip

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// quality is how bad a line is, in each direction.
type quality struct {
	loss          float64
	delay, jitter time.Duration // each packet takes delay ± jitter
}

// wire is a bad line between a host's cable and a bridge: a relay of frames between
// two packet sockets. What netem does where the kernel has it.
//
//	host -- port ~~~ wire ~~~ tap -- (veth) -- bridge
type wire struct {
	net    *Network
	bridge string
	port   string
	q      quality
	fds    [2]int
	done   chan struct{}
	wg     sync.WaitGroup // of carry, and of frames under way
}

// maxFrame is more than any frame of a veth, segments that the kernel has not cut
// yet included, with the header that describes those.
const maxFrame = 70 << 10

// Degrade puts a bad line between a host and a bridge, until restore.
func (n *Network) Degrade(ctx context.Context, bridge string, h *Host, q quality) (*wire, error) {
	w := &wire{net: n, bridge: bridge, port: port(bridge, h), q: q, fds: [2]int{-1, -1}, done: make(chan struct{})}
	if err := w.open(ctx); err != nil {
		w.restore()
		return nil, fmt.Errorf("bad line to %s: %w", h.Name, err)
	}
	for i := range w.fds {
		w.wg.Go(func() { w.carry(w.fds[i], w.fds[1-i]) })
	}
	return w, nil
}

func (w *wire) tap() string { return w.port + "-t" }

func (w *wire) open(ctx context.Context) (err error) {
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: w.tap()}, PeerName: w.port + "-b"}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	err = errors.Join(
		w.net.join(w.bridge, w.port+"-b"), setLink(w.port+"-b", netlink.LinkSetUp),
		netlink.LinkSetUp(veth), netlink.SetPromiscOn(veth), setLink(w.port, netlink.SetPromiscOn),
		carries(ctx, w.port+"-b"))
	if err != nil {
		return err
	}
	for i, name := range []string{w.port, w.tap()} {
		if w.fds[i], err = openWire(name); err != nil {
			return err
		}
	}
	return setLink(w.port, netlink.LinkSetNoMaster)
}

// openWire opens a packet socket that carries frames as they are, sums that the
// kernel has not filled in yet included.
func openWire(name string) (int, error) {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return -1, err
	}
	protocol := hton(unix.ETH_P_ALL)
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return -1, err
	}
	wait := unix.Timeval{Usec: 50_000}
	return fd, errors.Join(
		unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_VNET_HDR, 1),
		unix.SetsockoptInt(fd, unix.SOL_PACKET, packetIgnoreOutgoing, 1),
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
		unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
		unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: link.Attrs().Index}))
}

// carry relays one direction until restore.
func (w *wire) carry(from, to int) {
	buf := make([]byte, maxFrame)
	for {
		n, _, err := unix.Recvfrom(from, buf, 0)
		select {
		case <-w.done:
			return
		default:
		}
		if err != nil || rand.Float64() < w.q.loss {
			continue
		}
		frame := append([]byte(nil), buf[:n]...)
		late := w.q.delay + time.Duration((2*rand.Float64()-1)*float64(w.q.jitter))
		w.wg.Add(1) // carry itself still counts
		time.AfterFunc(late, func() {
			defer w.wg.Done()
			select {
			case <-w.done:
			default:
				unix.Write(to, frame) // what a full line drops is lost
			}
		})
	}
}

// restore puts the host back on the bridge itself.
func (w *wire) restore() {
	close(w.done)
	w.wg.Wait()
	for _, fd := range w.fds {
		unix.Close(fd)
	}
	_ = errors.Join(remove(w.tap()), setLink(w.port, netlink.SetPromiscOff), w.net.join(w.bridge, w.port)) // Unplug may have taken the port
}
