package address

import (
	"bytes"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/mdlayher/ndp"
	"golang.org/x/net/bpf"
)

// The virtual addresses of the tests.
var (
	vip4 = netip.MustParseAddr("10.9.0.100")
	vip6 = netip.MustParseAddr("fd09::100")
)

var ourMAC = net.HardwareAddr{2, 0, 0, 0, 0, 9}

// packet reads hexadecimal digits with spaces.
func packet(s string) []byte {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return b
}

func TestAnnouncementIPv4(t *testing.T) {
	frames, err := announcement(ourMAC, netip.MustParseAddr("10.77.0.100"), false)
	if err != nil {
		t.Fatal(err)
	}
	want := [][]byte{
		// As keepalived 2.2.7 sends it: sender and target are the address, the
		// target's MAC is broadcast.
		packet("0001 0800 06 04 0001 020000000009 0a4d0064 ffffffffffff 0a4d0064"),
		// What Linux's arp_is_garp wants of a reply: the target's MAC is the sender's.
		packet("0001 0800 06 04 0002 020000000009 0a4d0064 020000000009 0a4d0064"),
	}
	if len(frames) != len(want) {
		t.Fatalf("%d frames, want %d", len(frames), len(want))
	}
	for i, f := range frames {
		if !bytes.Equal(f.payload, want[i]) {
			t.Errorf("frame %d is %x, want %x", i, f.payload, want[i])
		}
		if f.to.String() != "ff:ff:ff:ff:ff:ff" || f.proto != 0x0806 {
			t.Errorf("frame %d goes to %s with type %#x", i, f.to, uint16(f.proto))
		}
	}
}

func TestAnnouncementIPv6(t *testing.T) {
	for _, router := range []bool{false, true} {
		frames, err := announcement(ourMAC, netip.MustParseAddr("fd09::100"), router)
		if err != nil || len(frames) != 1 {
			t.Fatalf("%d frames, %v", len(frames), err)
		}
		b := frames[0].payload
		if frames[0].to.String() != "33:33:00:00:00:01" || frames[0].proto != 0x86dd {
			t.Errorf("it goes to %s with type %#x", frames[0].to, uint16(frames[0].proto))
		}
		if b[7] != 255 || netip.AddrFrom16([16]byte(b[24:])).String() != "ff02::1" {
			t.Errorf("IPv6 header is %x, want hop limit 255 and ff02::1", b[:40])
		}
		pseudo := slices.Concat(b[8:40], []byte{0, 0, 0, byte(len(b) - 40), 0, 0, 0, protoICMPv6})
		if sum := checksum(pseudo, b[40:]); sum != 0 {
			t.Errorf("checksum is off by %#x", sum)
		}
		m, err := ndp.ParseMessage(b[40:])
		if err != nil {
			t.Fatal(err)
		}
		na := m.(*ndp.NeighborAdvertisement)
		if na.Solicited || !na.Override || na.Router != router {
			t.Errorf("flags are %+v, want Override, and Router = %t", na, router)
		}
	}
}

func TestDecodeARP(t *testing.T) {
	const vip, zero, all = "0a4d0064", "00000000", "ffffffffffff"
	tests := []struct {
		name, packet string
		mac          string // "" for no claim
	}{
		{"gratuitous request", "0001 0800 06 04 0001 020000000001" + vip + all + vip, "02:00:00:00:00:01"},
		{"reply to somebody", "0001 0800 06 04 0002 020000000001" + vip + "020000000002 0a4d0002", "02:00:00:00:00:01"},
		{"question of its owner", "0001 0800 06 04 0001 020000000001" + vip + "000000000000 0a4d0002", "02:00:00:00:00:01"},
		{"probe", "0001 0800 06 04 0001 020000000001" + zero + "000000000000" + vip, ""},
		{"broadcast sender", "0001 0800 06 04 0002" + all + vip + all + vip, ""},
		{"zero sender", "0001 0800 06 04 0002 000000000000" + vip + all + vip, ""},
		{"padded", "0001 0800 06 04 0002 020000000001" + vip + all + vip + strings.Repeat("00", 18), "02:00:00:00:00:01"},
		{"long MACs", "0001 0800 08 04 0002 0200000000000001" + vip + "0200000000000001" + vip, ""},
		{"another protocol", "0001 86dd 06 04 0002 020000000001" + vip + all + vip, ""},
		{"reverse ARP", "0001 0800 06 04 0003 020000000001" + vip + all + vip, ""},
		{"short", "0001 0800 06 04 0002 020000000001" + vip, ""},
		{"empty", "", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := decodeARP(packet(tt.packet))
			if got := c.mac.String(); got != tt.mac || (err == nil) != (tt.mac != "") {
				t.Errorf("claim of %q, %v, want %q", got, err, tt.mac)
			}
			if err == nil && c.address != netip.MustParseAddr("10.77.0.100") {
				t.Errorf("claim of %s", c.address)
			}
		})
	}
}

func TestDecodeNA(t *testing.T) {
	const target = "fd090000000000000000000000000100"
	tests := []struct{ name, packet, mac string }{
		{"unsolicited", "88 00 0000 20000000" + target + "02 01 020000000001", "02:00:00:00:00:01"},
		{"without MAC", "88 00 0000 60000000" + target, ""},
		{"of a group", "88 00 0000 20000000" + target + "02 01 330000000001", ""},
		{"source in place of target", "88 00 0000 20000000" + target + "01 01 020000000001", ""},
		{"solicitation", "87 00 0000 00000000" + target + "01 01 020000000001", ""},
		{"short", "88 00 0000 20000000 fd09", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := decodeNA(packet(tt.packet))
			if got := c.mac.String(); got != tt.mac || (err == nil) != (tt.mac != "") {
				t.Errorf("claim of %q, %v, want %q", got, err, tt.mac)
			}
		})
	}
}

func TestProbeClaimsNothing(t *testing.T) {
	for _, vip := range []netip.Addr{vip4, vip6} {
		f, err := question(ourMAC, vip)
		if err != nil {
			t.Fatal(err)
		}
		if vip.Is4() {
			_, err = decodeARP(f.payload)
		} else {
			_, err = decodeNA(f.payload[40:])
		}
		if !errors.Is(err, errNoClaim) {
			t.Errorf("the probe for %s: %v, want errNoClaim", vip, err)
		}
	}
}

// The filters pass what the decoders take for a claim of one of the addresses, and
// little else.
func TestFilters(t *testing.T) {
	vips := []netip.Addr{
		vip4, vip6, netip.MustParseAddr("10.9.0.101"), netip.MustParseAddr("fd09::1:100"),
	}
	others := []netip.Addr{
		netip.MustParseAddr("10.9.0.102"), netip.MustParseAddr("fd09::101"),
		netip.MustParseAddr("fd09:0:1::100"), netip.MustParseAddr("fd0a::1:100"),
	}
	arpVM, naVM := machine(t, arpFilter, vips), machine(t, naFilter, vips)
	pass := func(a netip.Addr) bool {
		frames, err := announcement(ourMAC, a, true)
		if err != nil {
			t.Fatal(err)
		}
		vm, b := arpVM, frames[0].payload
		if a.Is6() {
			vm, b = naVM, b[40:]
		}
		n, err := vm.Run(b)
		if err != nil {
			t.Fatal(err)
		}
		return n >= len(b)
	}
	for _, a := range vips {
		if !pass(a) {
			t.Errorf("a claim of %s does not pass", a)
		}
	}
	for _, a := range others {
		if pass(a) {
			t.Errorf("a claim of %s passes", a)
		}
	}
	for name, b := range map[string][]byte{
		"a solicitation": packet("87 00 0000 00000000 fd090000000000000000000000000100"),
		"nothing":        {},
	} {
		if n, err := naVM.Run(b); err != nil || n != 0 {
			t.Errorf("%s passes: %d, %v", name, n, err)
		}
	}
}

// machine runs a filter as the kernel would.
func machine(t *testing.T, f func([]netip.Addr) ([]bpf.RawInstruction, error), vips []netip.Addr) *bpf.VM {
	t.Helper()
	raw, err := f(vips)
	if err != nil {
		t.Fatal(err)
	}
	prog, ok := bpf.Disassemble(raw)
	if !ok {
		t.Fatal("the filter has instructions that are none")
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	return vm
}

// What is accepted as ARP is a claim that can be made again with the same meaning.
func FuzzDecodeARP(f *testing.F) {
	f.Add(packet("0001 0800 06 04 0001 020000000001 0a4d0064 ffffffffffff 0a4d0064"))
	f.Add(packet("0001 0800 06 04 0001 020000000001 00000000 000000000000 0a4d0064"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeARP(b)
		if err != nil {
			return
		}
		if !station(c.mac) || !c.address.Is4() || c.address.IsUnspecified() {
			t.Fatalf("claim of %s at %s", c.address, c.mac)
		}
		frames, err := announcement(c.mac, c.address, false)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := decodeARP(frames[0].payload); err != nil || again.address != c.address ||
			!bytes.Equal(again.mac, c.mac) {
			t.Fatalf("made again it is %v, %v, want %v", again, err, c)
		}
	})
}

// The same of neighbour advertisements.
func FuzzDecodeNA(f *testing.F) {
	f.Add(packet("88 00 0000 20000000 fd090000000000000000000000000100 02 01 020000000001"))
	f.Add(packet("87 00 0000 00000000 fd090000000000000000000000000100 01 01 020000000001"))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := decodeNA(b)
		if err != nil {
			return
		}
		if !station(c.mac) || !c.address.Is6() {
			t.Fatalf("claim of %s at %s", c.address, c.mac)
		}
	})
}
