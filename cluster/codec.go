package cluster

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// Messages between nodes: a kind, the sender's name and boot, and a body that the
// kind defines. memberlist seals them. Numbers are varints of encoding/binary,
// texts and lists have their length in front. A message that is not understood is
// counted and otherwise as good as lost; a field more at the end of a body is
// ignored, so that versions can differ.
type kind byte

const (
	kindReport     kind = iota + 1 // report: what a node says of itself
	kindFarewell                   // nothing: a goodbye has been heard
	kindFlows                      // flowDelta
	kindAllFlows                   // flowImage
	kindWantFlows                  // nothing: the flowImage is asked for
	kindCancel                     // cancelCall
	kindCancelDone                 // cancelAnswer
	kindShares                     // shareRow
	kindAllShares                  // shareRow with all limits
	kindWantShares                 // nothing
)

var errMessage = errors.New("malformed message")

// header begins every message.
type header struct {
	kind kind
	from string
	boot string
}

func (h header) append(b []byte) []byte {
	b = append(b, byte(h.kind))
	b = appendText(b, h.from)
	return appendText(b, h.boot)
}

func parseHeader(d *decoder) (header, error) {
	h := header{kind: kind(d.byte()), from: d.text(maxName), boot: d.text(maxBoot)}
	if d.bad || h.from == "" || h.boot == "" {
		return h, errMessage
	}
	return h, nil
}

func appendText(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}

// decoder reads a message. After the first fault it is bad, and gives zeros.
type decoder struct {
	b   []byte
	bad bool
}

func (d *decoder) fail() { d.bad, d.b = true, nil }

func (d *decoder) byte() byte {
	if len(d.b) == 0 {
		d.fail()
		return 0
	}
	c := d.b[0]
	d.b = d.b[1:]
	return c
}

func (d *decoder) uint() uint64 {
	v, n := binary.Uvarint(d.b)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return v
}

// count reads the length of a list whose items have at least size bytes each, so
// that no message announces more than it brings.
func (d *decoder) count(size int) int {
	n := d.uint()
	if n > uint64(len(d.b)/size) {
		d.fail()
		return 0
	}
	return int(n)
}

// int reads a number that fits an int32, so that sums of some fit everywhere.
func (d *decoder) int() int {
	v, n := binary.Varint(d.b)
	if n <= 0 || v > 1<<31-1 || v < -(1<<31-1) {
		d.fail()
		return 0
	}
	d.b = d.b[n:]
	return int(v)
}

// take gives the next n bytes, which are those of the message itself.
func (d *decoder) take(n int) []byte {
	if n > len(d.b) {
		d.fail()
		return nil
	}
	b := d.b[:n:n]
	d.b = d.b[n:]
	return b
}

func (d *decoder) text(most int) string {
	n := d.count(1)
	if n > most {
		d.fail()
		return ""
	}
	return string(d.take(n))
}

// appendAddrPort writes the address's length, its bytes and the port.
func appendAddrPort(b []byte, a netip.AddrPort) []byte {
	ip := a.Addr().AsSlice()
	b = append(b, byte(len(ip)))
	b = append(b, ip...)
	return binary.BigEndian.AppendUint16(b, a.Port())
}

func (d *decoder) addrPort() netip.AddrPort {
	n := d.byte()
	if n != 4 && n != 16 {
		d.fail()
		return netip.AddrPort{}
	}
	return d.addrPortOf(int(n))
}

// addrPortOf reads an address of a known length.
func (d *decoder) addrPortOf(n int) netip.AddrPort {
	b := d.take(n + 2)
	if d.bad {
		return netip.AddrPort{}
	}
	ip, _ := netip.AddrFromSlice(b[:n])
	return netip.AddrPortFrom(ip, binary.BigEndian.Uint16(b[n:]))
}
