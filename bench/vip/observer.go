package vip

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// probePace is how often the observer asks who has the address.
const probePace = 10 * time.Millisecond

// Observer asks by ARP who has an address, from a host of its own, and notes who
// answers and who announces. Its methods may be called by any goroutine.
type Observer struct {
	// Immutable.
	host  *Host
	vip   netip.Addr
	fd    int
	index int // of its interface
	done  chan struct{}
	wg    sync.WaitGroup

	mu sync.Mutex
	sightings
}

// sightings are what an observer has seen, in the order of time. Times are those
// of the kernel, or of the moment before a probe was sent.
type sightings struct {
	probes    []time.Time
	answers   []sighting
	announced []sighting // gratuitous: nobody asked
}

// sighting is one MAC that says it has the address.
type sighting struct {
	at  time.Time
	mac string
}

// NewObserver starts to ask. The caller calls Close.
func NewObserver(host *Host, vip netip.Addr) (*Observer, error) {
	o := &Observer{host: host, vip: vip, done: make(chan struct{})}
	if err := host.Do(o.open); err != nil {
		return nil, fmt.Errorf("observer: %w", err)
	}
	o.wg.Go(o.ask)
	o.wg.Go(o.listen)
	return o, nil
}

func (o *Observer) protocol() uint16 {
	if o.vip.Is4() {
		return unix.ETH_P_ARP
	}
	return unix.ETH_P_IPV6
}

func (o *Observer) open() error {
	link, err := netlink.LinkByName(lanIface)
	if err != nil {
		return err
	}
	o.index = link.Attrs().Index
	protocol := hton(o.protocol())
	o.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(protocol))
	if err != nil {
		return err
	}
	// Not a poller's: the time stamps are the kernel's, and the wait ends often
	// enough to see Close.
	wait := unix.Timeval{Usec: 50_000}
	return errors.Join(
		unix.Bind(o.fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: o.index}),
		unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
		unix.SetsockoptInt(o.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20),
		unix.SetsockoptInt(o.fd, unix.SOL_PACKET, packetIgnoreOutgoing, 1),
		unix.SetsockoptTimeval(o.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait),
	)
}

// packetIgnoreOutgoing keeps what the host itself sends away from a socket.
const packetIgnoreOutgoing = 23

func hton(v uint16) uint16 { return v<<8 | v>>8 }

// ask sends probes until Close.
func (o *Observer) ask() {
	probe, err := o.probe()
	if err != nil {
		panic("BUG: " + err.Error())
	}
	to := &unix.SockaddrLinklayer{Ifindex: o.index}
	tick := time.NewTicker(probePace)
	defer tick.Stop()
	for {
		select {
		case <-o.done:
			return
		case <-tick.C:
		}
		now := time.Now()
		if unix.Sendto(o.fd, probe, 0, to) != nil {
			continue // a probe that was not sent goes without an answer
		}
		o.mu.Lock()
		o.probes = append(o.probes, now)
		o.mu.Unlock()
	}
}

func (o *Observer) probe() ([]byte, error) {
	if !o.vip.Is4() {
		return solicitation(o.host, o.vip)
	}
	p, err := arp.NewPacket(arp.OperationRequest, o.host.MAC, o.host.LAN, make(net.HardwareAddr, 6), o.vip)
	if err != nil {
		return nil, err
	}
	return arpFrame(o.host.MAC, ethernet.Broadcast, p)
}

func arpFrame(from, to net.HardwareAddr, p *arp.Packet) ([]byte, error) {
	payload, err := p.MarshalBinary()
	if err != nil {
		return nil, err
	}
	return (&ethernet.Frame{Destination: to, Source: from, EtherType: ethernet.EtherTypeARP, Payload: payload}).MarshalBinary()
}

// listen notes what comes until Close.
func (o *Observer) listen() {
	buf, oob := make([]byte, 2048), make([]byte, 256)
	for {
		n, oobn, _, _, err := unix.Recvmsg(o.fd, buf, oob, 0)
		select {
		case <-o.done:
			return
		default:
		}
		if err != nil {
			continue
		}
		o.note(stamp(oob[:oobn]), buf[:n])
	}
}

// stamp is when the kernel took a packet.
func stamp(oob []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err == nil {
		for _, m := range messages {
			if m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16 {
				return time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:])))
			}
		}
	}
	return time.Now()
}

func (o *Observer) note(at time.Time, frame []byte) {
	mac, gratuitous, ok := readARP(frame, o.vip)
	if !o.vip.Is4() {
		mac, gratuitous, ok = readNA(frame, o.vip)
	}
	if !ok {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if gratuitous {
		o.announced = append(o.announced, sighting{at, mac})
	} else {
		o.answers = append(o.answers, sighting{at, mac})
	}
}

// readARP reads who says that it has the address, and whether somebody asked.
func readARP(frame []byte, vip netip.Addr) (mac string, gratuitous, ok bool) {
	f := &ethernet.Frame{}
	p := &arp.Packet{}
	if f.UnmarshalBinary(frame) != nil || p.UnmarshalBinary(f.Payload) != nil || p.SenderIP != vip {
		return "", false, false
	}
	return p.SenderHardwareAddr.String(), p.Operation != arp.OperationReply || p.TargetIP == vip, true
}

// Seen is what was seen since a moment.
func (o *Observer) Seen(since time.Time) sightings {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sightings.since(since)
}

// Forget drops what was seen so far.
func (o *Observer) Forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.sightings = sightings{}
}

// Owner is the MAC of the last answer, if it is not old.
func (o *Observer) Owner() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	if n := len(o.answers); n > 0 && time.Since(o.answers[n-1].at) < 5*probePace {
		return o.answers[n-1].mac
	}
	return ""
}

// Close ends the asking.
func (o *Observer) Close() {
	close(o.done)
	o.wg.Wait()
	unix.Close(o.fd)
}
