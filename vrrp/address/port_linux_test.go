package address

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Not parallel: it counts what the whole process has.
func TestCloseLeavesNothing(t *testing.T) {
	h := newLAN(t, 1).hosts[0]
	before := goleak.IgnoreCurrent()
	files := descriptors(t)
	for range 3 {
		var p *Port
		h.do(func() (err error) {
			p, err = Open(Options{Interface: "eth0", Addresses: both().Addresses})
			return err
		})
		if err := p.Hold(); err != nil {
			t.Fatal(err)
		}
		p.Announce()
		p.Probe()
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		for range p.Events() { // to its end
		}
		for range p.Adverts() {
		}
		if there, _ := h.has(vip4); !there.IPNet.IP.Equal(vip4.AsSlice()) {
			t.Error("Close removed the address, which is the caller's to do")
		}
	}
	goleak.VerifyNone(t, before)
	if n := descriptors(t); n != files {
		t.Errorf("%d files are open, %d were before", n, files)
	}
}

// descriptors counts the open files of this process.
func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestOpenRefusesNothingToHold(t *testing.T) {
	if _, err := Open(Options{Interface: "eth0"}); err == nil {
		t.Error("opened without an address")
	}
}
