package address

import (
	"bytes"
	"net/netip"
	"slices"
	"testing"

	"github.com/pgvip/pgvip/vrrp/beat"
)

func TestSegment(t *testing.T) {
	f := beat.Flow{Client: netip.MustParseAddrPort("10.9.0.2:40000"), VIP: netip.MustParseAddrPort("10.9.0.100:5000")}
	b := segment(f)
	want := packet("45000028 00000000 40060000 0a090064 0a090002" +
		"1388 9c40 00000000 00000000 5010 0400")
	if !bytes.HasPrefix(b, want) || len(b) != 40 {
		t.Errorf("segment is %x, want %x and a checksum", b, want)
	}
	if sum := checksum(b[12:20], []byte{0, protoTCP, 0, 20}, b[20:]); sum != 0 {
		t.Errorf("checksum is off by %#x", sum)
	}
	f = beat.Flow{Client: netip.MustParseAddrPort("[fe80::2%eth0]:40000"), VIP: netip.MustParseAddrPort("[fd09::100]:5000")}
	b = segment(f)
	if len(b) != 60 || b[6] != protoTCP {
		t.Fatalf("segment is %x", b)
	}
	pseudo := slices.Concat(b[8:40], []byte{0, 0, 0, 20, 0, 0, 0, protoTCP})
	if sum := checksum(pseudo, b[40:]); sum != 0 {
		t.Errorf("checksum over IPv6 is off by %#x", sum)
	}
}
