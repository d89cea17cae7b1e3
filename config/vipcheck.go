package config

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"time"
)

// checkVIP applies the rules of the vip section that look at more than one key.
func (r *reader) checkVIP(c *Config) {
	v := &c.VIP
	if !r.given("vip") && !v.Enabled() {
		return
	}
	if v.Interface == "" && !r.faulty("vip.interface") {
		r.faultAt("vip.interface", "is required")
	}
	if len(v.Addresses) == 0 {
		if !r.faulty("vip.addresses") {
			r.faultAt("vip.addresses", "is required")
		}
		return
	}
	r.checkVIPs(v)
	r.checkVersion(v)
	r.checkUnicast(v)
	r.checkArbiter(c)
}

func (r *reader) checkVIPs(v *VIP) {
	if len(v.Addresses) > mostVIPs {
		r.faultAt("vip.addresses", "must be at most %d, are %d", mostVIPs, len(v.Addresses))
	}
	taken := map[netip.Addr]bool{}
	for _, p := range v.Addresses {
		if taken[p.Addr()] {
			r.faultAt("vip.addresses", "has %s twice", p.Addr())
		}
		taken[p.Addr()] = true
		if p.Addr() == v.UnicastSource {
			r.faultAt("vip.unicast_src_ip", "is %s, a virtual address: it must be one that this node keeps", v.UnicastSource)
		}
	}
}

// checkVersion holds a version of VRRP to what it can say.
func (r *reader) checkVersion(v *VIP) {
	const key = "vip.advert_int"
	if v.Version == 3 {
		if v.AdvertInt > longestV3 {
			r.faultAt(key, "must be at most %s with version 3, is %s", longestV3, short(v.AdvertInt))
		}
		if v.AuthPass.IsSet() {
			r.faultAt("vip.version", "must be 2 with auth_pass, which version 3 does not have")
		}
		return
	}
	if !r.given(key) && v.AdvertInt%time.Second != 0 { // version 3's default
		v.AdvertInt = defaultV2
	}
	switch {
	case v.AdvertInt%time.Second != 0:
		r.faultAt(key, "must be whole seconds with version 2, is %s", short(v.AdvertInt))
	case v.AdvertInt > longestV2:
		r.faultAt(key, "must be at most %s with version 2, is %s", longestV2, short(v.AdvertInt))
	}
	if !v.Addresses[0].Addr().Is4() {
		r.faultAt("vip.version", "must be 3 with an IPv6 address, is 2")
	}
	if n := len(v.AuthPass.Reveal()); n > mostAuthPass {
		r.faultAt(r.firstGiven("vip.auth_pass", "vip.auth_pass_file", "vip.auth_pass_env"),
			"must have at most %d bytes, has %d", mostAuthPass, n)
	}
}

func (r *reader) checkUnicast(v *VIP) {
	ip4 := v.Addresses[0].Addr().Is4()
	if s := v.UnicastSource; s.IsValid() && s.Is4() != ip4 {
		r.faultAt("vip.unicast_src_ip", "must be of the family of the first address, %s, is %s", v.Addresses[0].Addr(), s)
	}
	if len(v.UnicastPeers) > 0 && !v.UnicastSource.IsValid() && !r.faulty("vip.unicast_src_ip") {
		r.faultAt("vip.unicast_src_ip", "is required with unicast_peer")
	}
	taken := map[netip.Addr]bool{}
	for _, p := range v.UnicastPeers {
		switch {
		case p == v.UnicastSource:
			r.faultAt("vip.unicast_peer", "has %s, which is unicast_src_ip", p)
		case taken[p]:
			r.faultAt("vip.unicast_peer", "has %s twice", p)
		case p.Is4() != ip4:
			r.faultAt("vip.unicast_peer", "must be of the family of the first address, %s, has %s", v.Addresses[0].Addr(), p)
		}
		taken[p] = true
	}
}

// checkArbiter wants what the rules of ownership rest on.
func (r *reader) checkArbiter(c *Config) {
	if c.Arbiter() != ArbiterEtcd {
		return
	}
	if c.Source != SourceEtcd && len(c.Etcd.Hosts) == 0 && !r.faulty("etcd.hosts") {
		r.faultAt("etcd.hosts", "is required with vip.arbiter etcd")
	}
	if len(c.Cluster.Peers) == 0 && !r.faulty("cluster.peers") {
		r.faultAt("cluster.peers", "is required with vip.arbiter etcd: the other nodes that may own the address")
	}
}

// interfaceName reads the name of a network interface.
func interfaceName(text string) (string, error) {
	if text == "" || len(text) > longestNIC || strings.ContainsAny(text, "/ \t\r\n") {
		return "", fmt.Errorf("must be the name of a network interface, at most %d bytes, is %q", longestNIC, text)
	}
	return text, nil
}

// nodeName reads the name of a pgvip node; it stands in keys of etcd and in labels.
func nodeName(text string) (string, error) {
	if text == "" || text == "*" || text == "-" || len(text) > mostNodeName || strings.ContainsAny(text, "/ \t\r\n") {
		return "", fmt.Errorf("must be one name without slashes and spaces, at most %d bytes, is %q", mostNodeName, text)
	}
	return text, nil
}

// hostAddress reads an IP address that a host may have.
func hostAddress(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, fmt.Errorf("must be an IP address like 10.0.0.1, is %q", text)
	}
	a = a.Unmap()
	if a.IsUnspecified() || a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
		return netip.Addr{}, fmt.Errorf("must be the address of one host, is %q", text)
	}
	return a, nil
}

// vipAddress reads a virtual address: without a prefix length it is a host's
// own, /32 or /128, so that it never is the source of a connection (rule 44).
func vipAddress(text string) (netip.Prefix, error) {
	host, bits, hasBits := strings.Cut(text, "/")
	a, err := hostAddress(host)
	if err != nil {
		return netip.Prefix{}, err
	}
	if a.IsLoopback() {
		return netip.Prefix{}, fmt.Errorf("must not be a loopback address, is %q", text)
	}
	if !hasBits {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(a.String() + "/" + bits)
	if err != nil || p.Bits() == 0 {
		return netip.Prefix{}, fmt.Errorf("must have a prefix length from 1 to %d, or none, is %q", a.BitLen(), text)
	}
	return p, nil
}

// ipPort reads one end of a heartbeat path.
func ipPort(text string) (netip.AddrPort, error) {
	p, err := netip.ParseAddrPort(text)
	if err != nil || p.Port() == 0 {
		return netip.AddrPort{}, fmt.Errorf("must be ip:port, is %q", text)
	}
	a, err := hostAddress(p.Addr().String())
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(a, p.Port()), nil
}

// spanUpTo is spanOrZero with an upper bound.
func spanUpTo(longest time.Duration) func(string) (time.Duration, error) {
	parse := timeout()
	return func(text string) (time.Duration, error) {
		d, err := parse(text)
		if err == nil && d > longest {
			err = fmt.Errorf("must be at most %s, is %s", short(longest), text)
		}
		return d, err
	}
}

// command reads a program with its arguments: words between blanks, quotes keep
// blanks and lose themselves. There is no shell, and so no variables.
func command(text string) (Command, error) {
	words, err := splitWords(text)
	if err != nil {
		return nil, err
	}
	if len(words) == 0 || !filepath.IsAbs(words[0]) {
		return nil, fmt.Errorf("must begin with the absolute path of a program, is %q", text)
	}
	return words, nil
}

func splitWords(text string) ([]string, error) {
	var words []string
	var word strings.Builder
	var quote rune // the open one, 0 outside
	inWord := false
	for _, c := range text {
		switch {
		case quote != 0 && c == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(c)
		case c == '"' || c == '\'':
			quote, inWord = c, true
		case c == ' ' || c == '\t' || c == '\n':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(c)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, errors.New("has a quote that is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}
