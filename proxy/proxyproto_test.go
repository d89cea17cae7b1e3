package proxy

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// signatureV2 begins a header of version 2.
const signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"

// headerV2 is a header of version 2: "PROXY" of TCP over IPv4 unless said otherwise.
func headerV2(command, family byte, body string) string {
	return signatureV2 + string([]byte{command, family, byte(len(body) >> 8), byte(len(body))}) + body
}

const (
	// From 192.0.2.9:4321 to 192.0.2.1:5000.
	addressV4 = "\xc0\x00\x02\x09\xc0\x00\x02\x01\x10\xe1\x13\x88"
	// The same in IPv6: 2001:db8::9 and ::1.
	addressV6 = "\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x09" +
		"\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x10\xe1\x13\x88"
)

// trusting is a plan of a site that stands behind a load balancer.
func trusting(networks ...string) plan {
	return plan{proxy: func(set *Settings) {
		for _, n := range networks {
			set.ProxyNetworks = append(set.ProxyNetworks, netip.MustParsePrefix(n))
		}
		set.ApplicationNameAddHost = true
	}}
}

// TestProxyHeader: the address in it is the client's, whatever pieces it comes in.
func TestProxyHeader(t *testing.T) {
	s := newSite(t, trusting("10.0.0.0/8", "127.0.0.0/8"))
	for _, test := range []struct {
		name, header, client string // client empty for the peer's own address
	}{
		{"version 1", "PROXY TCP4 192.0.2.9 192.0.2.1 4321 5000\r\n", "192.0.2.9:4321"},
		{"version 1, IPv6", "PROXY TCP6 2001:db8::9 2001:db8::1 4321 5000\r\n", "[2001:db8::9]:4321"},
		{"version 1, unknown", "PROXY UNKNOWN\r\n", ""},
		{"version 1, longest", "PROXY UNKNOWN " + strings.Repeat("f", 91) + "\r\n", ""},
		{"version 2", headerV2(0x21, 0x11, addressV4), "192.0.2.9:4321"},
		{"version 2, IPv6", headerV2(0x21, 0x21, addressV6), "[2001:db8::9]:4321"},
		{"version 2 with more", headerV2(0x21, 0x11, addressV4+"\x03\x00\x04\x01\x02\x03\x04"), "192.0.2.9:4321"},
		{"version 2, longest", headerV2(0x21, 0x11, addressV4+"\x04\x07\xf1"+strings.Repeat("x", 2033)), "192.0.2.9:4321"},
		{"version 2, local", headerV2(0x20, 0x00, ""), ""},
		{"version 2, local with an address", headerV2(0x20, 0x11, addressV4), ""},
	} {
		for _, bytewise := range []bool{false, true} {
			t.Run(test.name, func(t *testing.T) {
				c := dialTo(t, s.primary)
				sent := slices.Concat([]byte(test.header), pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase))
				for len(sent) > 0 && bytewise && len(test.header) < 100 {
					c.send(sent[:1])
					sent = sent[1:]
				}
				c.send(sent)
				if err := c.welcomed(); err != nil {
					t.Fatal(err)
				}
				want := test.client
				if want == "" {
					want = c.conn.LocalAddr().String()
				}
				if got := c.value("SHOW application_name"); got != " - "+want {
					t.Errorf("client is %q, want %q", got, want)
				}
				c.leave()
			})
		}
	}
}

// TestProxyHeaderRefused: whoever is trusted has to send a valid one, and nobody
// else may send any.
func TestProxyHeaderRefused(t *testing.T) {
	trusted, other := newSite(t, trusting("127.0.0.0/8")), newSite(t, trusting("10.0.0.0/8"))
	startup := string(pgscript.Startup("user", lab.TrustUser, "database", lab.AppDatabase))
	v1 := "PROXY TCP4 192.0.2.9 192.0.2.1 4321 5000\r\n"
	for _, test := range []struct {
		name, sent, message string
		at                  *site
	}{
		{"untrusted, version 1", v1 + startup, "that was not expected", other},
		{"untrusted, version 2", headerV2(0x21, 0x11, addressV4) + startup, "that was not expected", other},
		{"none", startup, "expected a PROXY protocol header", trusted},
		{"cancel request", string(pgscript.CancelRequest(1, 2)), "expected a PROXY protocol header", trusted},
		{"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n", "expected a PROXY protocol header", trusted},
		{"twice", v1 + v1 + startup, "that was not expected", trusted},
		{"too long, version 1", "PROXY UNKNOWN " + strings.Repeat("f", 100) + "\r\n", "too long", trusted},
		{"too long, version 2", headerV2(0x21, 0x11, addressV4+strings.Repeat("x", 2037)), "too long", trusted},
		{"no address", "PROXY TCP4 192.0.2.9\r\n", "invalid PROXY", trusted},
		{"no such address", "PROXY TCP4 192.0.2.999 192.0.2.1 4321 5000\r\n", "invalid PROXY", trusted},
		{"no such port", "PROXY TCP4 192.0.2.9 192.0.2.1 99999 5000\r\n", "invalid PROXY", trusted},
		{"bare line feed", "PROXY TCP4 192.0.2.9 192.0.2.1 4321 5000\n", "invalid PROXY", trusted},
		{"version 3", headerV2(0x31, 0x11, addressV4), "invalid PROXY", trusted},
		{"address cut short", headerV2(0x21, 0x11, addressV4[:11]), "invalid PROXY", trusted},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := dialTo(t, test.at.primary)
			c.send([]byte(test.sent))
			err := c.welcomed()
			if code(err) != "08P01" || !strings.Contains(err.Error(), test.message) {
				t.Errorf("%v, want 08P01 %q", err, test.message)
			}
			c.gone()
		})
	}
	for _, sent := range []string{v1[:20], headerV2(0x21, 0x11, addressV4)[:14], headerV2(0x21, 0x11, addressV4)[:20]} {
		c := dialTo(t, trusted.primary)
		c.send([]byte(sent))
		c.closeWrite()
		if got := c.fatal(); got != "08P01" {
			t.Errorf("%q and no more: %s, want 08P01", sent, got)
		}
	}
}

// TestProxyPortCheck: a load balancer that only looks whether the port is open
// leaves no trace.
func TestProxyPortCheck(t *testing.T) {
	s := newSite(t, trusting("127.0.0.0/8"))
	for _, sent := range []string{"", headerV2(0x20, 0, "")} {
		c := dialTo(t, s.primary)
		c.send([]byte(sent))
		c.closeWrite()
		c.gone()
	}
	eventually(t, "checks have been served", func() bool { return s.proxy.Clients() == 0 })
	if n := s.proxy.counters.LoginsFailed.Load(); n != 0 || s.logs.Len() != 0 {
		t.Errorf("%d failed logins, %d lines of log", n, s.logs.Len())
	}
}

// FuzzProxyHeader: whatever is sent, no more is read than the header, and an
// error is one for the client or none.
func FuzzProxyHeader(f *testing.F) {
	for _, b := range []string{"", "PROXY TCP4 192.0.2.9 192.0.2.1 4321 5000\r\nx", "PROXY UNKNOWN\r\n",
		headerV2(0x21, 0x11, addressV4) + "x", headerV2(0x21, 0x21, addressV6), headerV2(0x20, 0, ""), headerV2(0x21, 0x31, strings.Repeat("a", 216))} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		in := bytes.NewReader(b)
		header, err := readProxyHeader(in)
		if err == nil {
			if !bytes.HasPrefix(b, header) || in.Len() != len(b)-len(header) {
				t.Fatalf("%d bytes left of %d behind a header of %d", in.Len(), len(b), len(header))
			}
			var client net.Addr
			if client, err = parseProxyHeader(header); client != nil && client.(*net.TCPAddr).IP == nil {
				t.Error("a client without an address")
			}
		}
		var e *wire.Error
		if err != nil && !errors.Is(err, errQuiet) && (!errors.As(err, &e) || !e.Fatal()) {
			t.Errorf("error %v is not a FATAL of ours", err)
		}
	})
}
