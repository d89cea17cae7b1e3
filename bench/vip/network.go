package vip

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	lanBridge  = "lan"
	mgmtBridge = "mgmt"
	mgmtHost   = "10.98.0.1"     // of the harness itself
	labNet     = "127.64.0.0/10" // every address of every lab
	labGateway = "10.98.0.1"
)

// Network is two bridges, and the hosts plugged into them. It lives in the network
// namespace of the harness, which has to be its own (OwnNetwork). It is used by
// one goroutine.
type Network struct {
	hosts []*Host
	cuts  map[string]bool // rules of nft
}

// OwnNetwork prepares a fresh network namespace for NewNetwork.
func OwnNetwork(ctx context.Context) error {
	return execute(ctx, "ip", "link", "set", "dev", "lo", "up")
}

// NewNetwork makes the bridges. The caller calls Close.
func NewNetwork() (*Network, error) {
	n := &Network{cuts: map[string]bool{}}
	for i, name := range []string{lanBridge, mgmtBridge} {
		snoop := false // queriers are not our subject
		// A MAC of its own: otherwise it is that of some port, and changes when that one goes.
		mac := net.HardwareAddr{2, 0, 10, byte(99 - i), 0, 1}
		bridge := &netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: name, HardwareAddr: mac}, MulticastSnooping: &snoop}
		if err := errors.Join(netlink.LinkAdd(bridge), netlink.LinkSetUp(bridge)); err != nil {
			return nil, fmt.Errorf("bridge %s: %w", name, err)
		}
	}
	bridge, err := netlink.LinkByName(mgmtBridge)
	if err != nil {
		return nil, fmt.Errorf("bridge %s: %w", mgmtBridge, err)
	}
	addr, err := netlink.ParseAddr(mgmtHost + "/24")
	if err != nil {
		return nil, err
	}
	if err := netlink.AddrAdd(bridge, addr); err != nil {
		return nil, fmt.Errorf("bridge %s: %w", mgmtBridge, err)
	}
	// The lab listens in 127.0.0.0/8, which no packet may reach from outside otherwise.
	return n, sysctl("net/ipv4/conf/"+mgmtBridge+"/route_localnet", "1")
}

// AddHost makes a host and plugs it into both networks; n is the last byte of its
// addresses.
func (n *Network) AddHost(ctx context.Context, name string, number int) (*Host, error) {
	h, err := newHost(name, number)
	if err != nil {
		return nil, err
	}
	n.hosts = append(n.hosts, h)
	return h, n.Plug(ctx, h)
}

// Plug connects a host's two interfaces, with its addresses: after Unplug, those
// of a machine that boots.
func (n *Network) Plug(ctx context.Context, h *Host) error {
	if err := errors.Join(n.connect(lanBridge, h, lanIface, h.LAN), n.connect(mgmtBridge, h, mgmtIface, h.Mgmt)); err != nil {
		return fmt.Errorf("plug %s: %w", h.Name, err)
	}
	if err := errors.Join(carries(ctx, port(lanBridge, h)), carries(ctx, port(mgmtBridge, h))); err != nil {
		return fmt.Errorf("plug %s: %w", h.Name, err)
	}
	// 127.0.0.1 stays the host's own; the rest of loopback is the lab's.
	script := "ip link set dev lo up; ip addr replace 127.0.0.1/32 dev lo; ip addr del 127.0.0.1/8 dev lo 2>/dev/null; " +
		"set -e; echo 1 >/proc/sys/net/ipv4/conf/" + mgmtIface + "/route_localnet; " +
		"echo 1 >/proc/sys/net/ipv4/tcp_tw_reuse; " +
		"ip addr add " + h.lan6() + "/64 dev " + lanIface + " nodad; ip route replace " + labNet + " via " + labGateway + " dev " + mgmtIface + " src " + h.Mgmt.String()
	_, err := h.Run(ctx, "sh", "-c", script)
	// Answers to what comes from an address of the LAN find their way back, too.
	return errors.Join(err, execute(ctx, "ip", "route", "replace", h.LAN.String()+"/32", "via", h.Mgmt.String(), "dev", mgmtBridge))
}

// port is the name of the bridge's end of a host's cable.
func port(bridge string, h *Host) string {
	if bridge == mgmtBridge {
		return h.Name + "-m"
	}
	return h.Name
}

func (n *Network) connect(bridge string, h *Host, iface string, addr netip.Addr) error {
	mac := slices.Clone(h.MAC)
	if bridge == mgmtBridge {
		mac[2] = 98
	}
	veth := &netlink.Veth{
		LinkAttrs: netlink.LinkAttrs{Name: port(bridge, h)},
		PeerName:  iface, PeerNamespace: netlink.NsFd(h.ns), PeerHardwareAddr: mac,
	}
	if err := netlink.LinkAdd(veth); err != nil {
		return err
	}
	if err := errors.Join(n.join(bridge, port(bridge, h)), netlink.LinkSetUp(veth)); err != nil {
		return err
	}
	inside, err := netlink.NewHandleAt(h.ns)
	if err != nil {
		return err
	}
	defer inside.Close()
	link, err := inside.LinkByName(iface)
	if err != nil {
		return err
	}
	own := &netlink.Addr{IPNet: &net.IPNet{IP: addr.AsSlice(), Mask: net.CIDRMask(24, 32)}}
	return errors.Join(inside.LinkSetUp(link), inside.AddrAdd(link, own))
}

// carries waits until a port is up: the kernel notices a carrier in its own time,
// and packets are lost until then.
func carries(ctx context.Context, port string) error {
	for {
		link, err := netlink.LinkByName(port)
		if err != nil {
			return err
		}
		if link.Attrs().OperState == netlink.OperUp {
			return nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return fmt.Errorf("%s: no carrier: %w", port, err)
		}
	}
}

func (n *Network) join(bridge, port string) error {
	master, err := netlink.LinkByName(bridge)
	if err != nil {
		return err
	}
	link, err := netlink.LinkByName(port)
	if err != nil {
		return err
	}
	return netlink.LinkSetMaster(link, master)
}

// Unplug ends a host as the loss of its power does: nothing that runs there acts on
// anything any more, its cables and interfaces are gone, and its processes too.
func (n *Network) Unplug(h *Host) error {
	h.signalAll(syscall.SIGSTOP)
	err := errors.Join(remove(port(lanBridge, h)), remove(port(mgmtBridge, h)))
	h.killAll()
	return err
}

func remove(name string) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return netlink.LinkDel(link)
}

// LinkDown takes the bridge's end of a host's cable to the LAN down: the host sees
// its carrier go.
func (n *Network) LinkDown(h *Host) error { return setLink(port(lanBridge, h), netlink.LinkSetDown) }

// LinkUp undoes LinkDown.
func (n *Network) LinkUp(h *Host) error { return setLink(port(lanBridge, h), netlink.LinkSetUp) }

func setLink(name string, set func(netlink.Link) error) error {
	link, err := netlink.LinkByName(name)
	if err != nil {
		return err
	}
	return set(link)
}

// Block takes a host's port out of the LAN's bridge while its carrier stays, as
// spanning tree does with a port that comes up.
func (n *Network) Block(h *Host) error { return setLink(port(lanBridge, h), netlink.LinkSetNoMaster) }

// Unblock undoes Block.
func (n *Network) Unblock(h *Host) error { return n.join(lanBridge, port(lanBridge, h)) }

// Cut is a direction in which no packet passes.
type Cut struct {
	Bridge   string // lanBridge or mgmtBridge
	From, To *Host  // To is nil for the harness, with the lab in it
	Match    string // more of nft's expressions: "tcp dport 2379"; empty for everything
}

func (c Cut) rule() string {
	var b strings.Builder
	chain := "forward"
	switch {
	case c.From == nil:
		chain = "output"
	case c.To == nil:
		chain = "input"
	}
	fmt.Fprintf(&b, "add rule bridge pgvip %s", chain)
	if c.From != nil {
		fmt.Fprintf(&b, " iifname %q", port(c.Bridge, c.From))
	}
	if c.To != nil {
		fmt.Fprintf(&b, " oifname %q", port(c.Bridge, c.To))
	}
	fmt.Fprintf(&b, " %s counter drop", c.Match)
	return b.String()
}

// Cut lets no packet pass in any of the given directions, besides those that are
// cut already.
func (n *Network) Cut(ctx context.Context, cuts ...Cut) error {
	for _, c := range cuts {
		n.cuts[c.rule()] = true
	}
	return n.apply(ctx)
}

// Mend undoes all cuts.
func (n *Network) Mend(ctx context.Context) error {
	clear(n.cuts)
	return n.apply(ctx)
}

// apply gives the kernel the whole set at one moment.
func (n *Network) apply(ctx context.Context) error {
	var b bytes.Buffer
	b.WriteString("add table bridge pgvip\ndelete table bridge pgvip\nadd table bridge pgvip\n")
	for _, hook := range []string{"input", "forward", "output"} {
		fmt.Fprintf(&b, "add chain bridge pgvip %s { type filter hook %s priority 0; policy accept; }\n", hook, hook)
	}
	for _, rule := range slices.Sorted(maps.Keys(n.cuts)) {
		b.WriteString(rule + "\n")
	}
	cmd := exec.CommandContext(ctx, "nft", "-f", "-")
	cmd.Stdin = &b
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("nft: %w: %s", err, out)
	}
	return nil
}

// Both are the two directions between two hosts on a bridge.
func Both(bridge string, a, b *Host) []Cut {
	return []Cut{{Bridge: bridge, From: a, To: b}, {Bridge: bridge, From: b, To: a}}
}

// Alone are all directions between a host and all others on a bridge, the lab included
// on mgmt.
func (n *Network) Alone(bridge string, h *Host) []Cut {
	var all []Cut
	for _, other := range n.hosts {
		if other != h {
			all = append(all, Both(bridge, h, other)...)
		}
	}
	if bridge == mgmtBridge {
		all = append(all, Both(bridge, h, nil)...)
	}
	return all
}

// NoEtcd are both directions between a host and all etcd members.
func NoEtcd(h *Host) []Cut {
	return []Cut{
		{Bridge: mgmtBridge, From: h, Match: "tcp dport 2379"},
		{Bridge: mgmtBridge, To: h, Match: "tcp sport 2379"},
	}
}

// Close ends what runs on the hosts, and removes them and the bridges.
func (n *Network) Close() {
	for _, h := range n.hosts {
		_ = n.Unplug(h) // one that a scenario has unplugged is not there
		h.close()
	}
	_ = errors.Join(remove(lanBridge), remove(mgmtBridge))
}
