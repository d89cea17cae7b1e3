package address

import (
	"errors"
	"os"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
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

// What the unit file grants the keeper is enough, and without it Open says so.
func TestCapabilities(t *testing.T) {
	t.Parallel()
	h := newLAN(t, 1).hosts[0]
	tests := []struct {
		name string
		caps uint32
		err  error
	}{
		{"CAP_NET_ADMIN and CAP_NET_RAW", 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW, nil},
		{"CAP_NET_ADMIN alone", 1 << unix.CAP_NET_ADMIN, unix.EPERM},
		{"none", 0, unix.EPERM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h.do(func() error { // on a thread that ends with it
				if err := only(tt.caps); err != nil {
					return err
				}
				o := both()
				o.Interface = "eth0"
				p, err := Open(o)
				if !errors.Is(err, tt.err) {
					t.Errorf("Open: %v, want %v", err, tt.err)
				}
				if err != nil {
					return nil
				}
				if err := p.Hold(); err != nil {
					t.Errorf("Hold: %v", err)
				}
				for _, to := range p.Destinations() {
					if err := p.SendAdvert(to, []byte("x")); err != nil {
						t.Errorf("SendAdvert: %v", err)
					}
				}
				return errors.Join(p.Release(), p.Close(), Clear("eth0", o.Addresses))
			})
		})
	}
}

// only leaves the thread these capabilities.
func only(caps uint32) error {
	data := [2]unix.CapUserData{{Effective: caps, Permitted: caps}}
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0])
}

func TestOpenRefusesNothingToHold(t *testing.T) {
	if _, err := Open(Options{Interface: "eth0"}); err == nil {
		t.Error("opened without an address")
	}
}
