package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"github.com/pgvip/pgvip/config"
)

// vipWarnings say what would keep this machine from having the virtual IP. None
// keeps pgvip from starting: an interface may come later, and check is often run
// elsewhere, or by somebody else, than pgvip is.
func vipWarnings(c *config.Config) []string {
	if !c.VIP.Enabled() {
		return nil
	}
	warnings := []string{lacksVIPCaps()}
	if c.Arbiter() == config.ArbiterNone {
		warnings = append(warnings, "vip.arbiter none: this is VRRP as it stands, two nodes that do not hear each other both take the address")
	}
	return append(warnings, interfaceWarnings(&c.VIP)...)
}

// interfaceWarnings look at the interface.
func interfaceWarnings(v *config.VIP) []string {
	nic, err := net.InterfaceByName(v.Interface)
	if err != nil {
		return []string{"vip.interface: this machine has no interface " + v.Interface}
	}
	var warnings []string
	if nic.Flags&net.FlagUp == 0 {
		warnings = append(warnings, "vip.interface: "+v.Interface+" is down")
	}
	addresses, err := nic.Addrs()
	if err != nil {
		return append(warnings, "vip.interface: "+v.Interface+": "+err.Error())
	}
	ip4 := v.Addresses[0].Addr().Is4()
	own := false
	for _, a := range addresses {
		p, err := netip.ParsePrefix(a.String())
		if err == nil && p.Addr().Is4() == ip4 && !v.Has(netip.AddrPortFrom(p.Addr(), 1).String()) {
			own = true
		}
	}
	if !own {
		warnings = append(warnings, "vip.interface: "+v.Interface+" has no address of its own in the family of "+
			v.Addresses[0].Addr().String()+", where adverts would come from")
	}
	return warnings
}

// checkVIP adds what only this machine can say of the virtual IP.
func (v *verdict) checkVIP(c *config.Config) {
	for _, w := range vipWarnings(c) {
		v.warn(w)
	}
	if !c.VIP.Enabled() {
		return
	}
	if _, err := keeperConfig(c, ""); err != nil {
		v.Faults = append(v.Faults, config.Fault{File: v.File, Text: err.Error()})
	}
}

// vipText is the line of check's summary.
func vipText(c *config.Config) string {
	var list []string
	for _, p := range c.VIP.Addresses {
		list = append(list, p.String())
	}
	return fmt.Sprintf("%s on %s, router %d, priority %d, arbiter %s, with %d other nodes",
		strings.Join(list, ", "), c.VIP.Interface, c.VIP.VirtualRouterID, c.VIP.Priority, c.Arbiter(), len(c.Cluster.Peers))
}

// errVIPTaken says that there is another pgvip with this virtual IP.
var errVIPTaken = errors.New("a pgvip runs on this machine that has this virtual IP")

// lockVIP makes this process the only one of the machine's, or of its network
// namespace's, that runs a keeper for a virtual IP. The lock ends with the process.
func lockVIP(c *config.Config) (net.Listener, error) {
	name := fmt.Sprintf("@pgvip-vip-%s-%d", c.VIP.Interface, c.VIP.VirtualRouterID)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: name})
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", errVIPTaken, err)
	}
	return l, nil
}
