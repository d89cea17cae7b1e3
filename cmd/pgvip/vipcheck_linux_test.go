package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/pgvip/pgvip/config"
)

func TestCheckNamesWhatTheMachineLacks(t *testing.T) {
	l := newLAN(t)
	c := config.Default()
	c.Source = config.SourceStatic
	if got := vipWarnings(c); len(got) != 0 {
		t.Errorf("without a virtual IP: %q", got)
	}
	c.VIP.Interface, c.VIP.Addresses = "eth7", []netip.Prefix{netip.MustParsePrefix(vipOfTest + "/32")}
	wants := func(name string, texts ...string) {
		t.Helper()
		all := strings.Join(vipWarnings(c), "\n")
		for _, text := range texts {
			if !strings.Contains(all, text) {
				t.Errorf("%s: warned of\n%s\nwant %q", name, all, text)
			}
		}
		if lines := len(strings.Fields(strings.ReplaceAll(strings.TrimSpace(all), " ", "_"))); lines != len(texts) {
			t.Errorf("%s: warned of\n%s\nwant %d warnings", name, all, len(texts))
		}
	}
	const two = "two nodes that do not hear each other both take the address"
	wants("no interface", two, "no interface eth7")
	c.VIP.Interface = "eth0"
	wants("down and bare", two, "eth0 is down", "eth0 has no address of its own")
	nic, err := netlink.LinkByName("eth0")
	l.must(err)
	l.must(netlink.LinkSetUp(nic))
	l.address(vipOfTest + "/32")
	wants("the virtual address alone", two, "eth0 has no address of its own")
	l.address(ownOfTest + "/24")
	wants("all there", two)
	c.VIP.Arbiter = config.ArbiterEtcd
	wants("with an arbiter")
}
