package address

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/net/bpf"
)

// The filters run in the kernel, so that a busy LAN does not wake this process: only
// packets that claim one of the addresses come through.

// arpFilter looks at ARP packets from their own header on.
func arpFilter(vips []netip.Addr) ([]bpf.RawInstruction, error) {
	const senderIP, whole = 14, 28
	prog := []bpf.Instruction{bpf.LoadAbsolute{Off: senderIP, Size: 4}}
	for _, a := range vips {
		if a.Is4() {
			b := a.As4()
			prog = append(prog,
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[:]), SkipTrue: 1},
				bpf.RetConstant{Val: whole})
		}
	}
	return bpf.Assemble(append(prog, bpf.RetConstant{Val: 0}))
}

// naFilter looks at ICMPv6 packets from their own header on.
func naFilter(vips []netip.Addr) ([]bpf.RawInstruction, error) {
	const advertisement, target, whole = 136, 8, 1 << 16
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: 0, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: advertisement, SkipTrue: 1},
		bpf.RetConstant{Val: 0},
	}
	for _, a := range vips {
		if !a.Is6() {
			continue
		}
		b := a.As16()
		for i := range 4 {
			// A difference leaves for the next address, past what is left of this one.
			prog = append(prog,
				bpf.LoadAbsolute{Off: target + 4*uint32(i), Size: 4},
				bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: binary.BigEndian.Uint32(b[4*i:]), SkipTrue: uint8(2*(3-i) + 1)})
		}
		prog = append(prog, bpf.RetConstant{Val: whole})
	}
	return bpf.Assemble(append(prog, bpf.RetConstant{Val: 0}))
}
