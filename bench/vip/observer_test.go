package vip

import (
	"context"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/lab"
)

// requireNetwork skips a test where there can be no network of our own.
func requireNetwork(t *testing.T) {
	t.Helper()
	lab.Require(t, func() error {
		if err := Check(); err != nil {
			return unable{err}
		}
		return nil
	})
	if !InOwnNetwork() {
		t.Fatal("not in a network namespace of its own")
	}
}

// unable is what lab.Require may skip for.
type unable struct{ error }

func (unable) Is(target error) bool { return target == lab.ErrMissing }

// newLAN makes a network with hosts of the given names, and an observer of an address.
func newLAN(t *testing.T, vip string, names ...string) (*Network, map[string]*Host, *Observer) {
	t.Helper()
	n, err := NewNetwork()
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]*Host{}
	for i, name := range append(names, "observer") {
		if hosts[name], err = n.AddHost(t.Context(), name, 11+i); err != nil {
			t.Fatal(err)
		}
	}
	o, err := NewObserver(hosts["observer"], netip.MustParseAddr(vip))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		o.Close()
		n.Close()
	})
	return n, hosts, o
}

// eventually waits for something that has to come.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

// TestObserverSeesTwoOwners kills keepalived with SIGKILL, which leaves the address
// where it was: the second daemon takes it over and both hosts answer for it.
func TestObserverSeesTwoOwners(t *testing.T) {
	requireNetwork(t)
	lab.Require(t, func() error {
		if err := CheckKeepalived(); err != nil {
			return unable{err}
		}
		return nil
	})
	_, hosts, observer := newLAN(t, "10.99.0.100", "lb1", "lb2")
	l := proc.NewLauncher()
	defer l.Close()
	opt := KeepalivedOptions{VIP: []string{"10.99.0.100/32"}, Version: 3, Advert: "0.1", Priority: 150}
	watches := map[string]*Watch{}
	for _, name := range []string{"lb1", "lb2"} {
		w, err := NewWatch(hosts[name], netip.MustParseAddr("10.99.0.100"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		watches[name] = w
		if _, err := StartKeepalived(t.Context(), l, hosts[name], t.TempDir(), opt); err != nil {
			t.Fatal(err)
		}
		opt.Priority -= 50
		eventually(t, "lb1 owns", func() bool { return observer.Owner() == hosts["lb1"].MAC.String() })
	}
	fault := time.Now()
	hosts["lb1"].killAll()
	eventually(t, "lb2 has the address", watches["lb2"].Has)
	eventually(t, "both answer", func() bool { return observer.Seen(fault).dual() > 300*time.Millisecond })
	if !watches["lb1"].Has() {
		t.Error("lb1 has lost its address, which nobody removed")
	}
	now := time.Now()
	if d := overlap([][]span{watches["lb1"].Spans(), watches["lb2"].Spans()}, fault, now); d < 100*time.Millisecond {
		t.Errorf("both had the address for %v by netlink, want at least 100ms", d)
	}
	if at, ok := observer.Seen(fault).first(hosts["lb2"].MAC.String()); !ok || at.Sub(fault) < 200*time.Millisecond {
		t.Errorf("takeover %v after the fault, %t: earlier than three adverts", at.Sub(fault), ok)
	}
}

// TestObserverSeesACleanMove ends keepalived with SIGTERM: never two owners.
func TestObserverSeesACleanMove(t *testing.T) {
	requireNetwork(t)
	lab.Require(t, func() error {
		if err := CheckKeepalived(); err != nil {
			return unable{err}
		}
		return nil
	})
	_, hosts, observer := newLAN(t, "10.99.0.100", "lb1", "lb2")
	l := proc.NewLauncher()
	defer l.Close()
	opt := KeepalivedOptions{VIP: []string{"10.99.0.100/32"}, Version: 3, Advert: "0.1", Priority: 150}
	first, err := StartKeepalived(t.Context(), l, hosts["lb1"], t.TempDir(), opt)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "lb1 owns", func() bool { return observer.Owner() == hosts["lb1"].MAC.String() })
	opt.Priority = 100
	if _, err := StartKeepalived(t.Context(), l, hosts["lb2"], t.TempDir(), opt); err != nil {
		t.Fatal(err)
	}
	time.Sleep(500 * time.Millisecond) // lb2 has to have heard lb1; it says so nowhere
	fault := time.Now()
	if err := syscall.Kill(first.PID(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	eventually(t, "lb2 owns", func() bool { return observer.Owner() == hosts["lb2"].MAC.String() })
	eventually(t, "lb2 announces", func() bool { return len(observer.Seen(fault).announced) > 0 })
	seen := observer.Seen(fault)
	if d := seen.dual(); d != 0 {
		t.Errorf("two owners for %v, want never: %v", d, seen.macs())
	}
	if g := seen.gap(); g < probePace || g > 5*time.Second {
		t.Errorf("nobody answered for %v", g)
	}
}

// TestCuts has each cut let through what it says and nothing else.
func TestCuts(t *testing.T) {
	requireNetwork(t)
	n, hosts, _ := newLAN(t, "10.99.0.100", "lb1", "lb2")
	lb1, lb2 := hosts["lb1"], hosts["lb2"]
	serve := func(h *Host, addr string) {
		listener, err := h.Listen(t.Context(), "tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { listener.Close() })
	}
	serve(lb2, lb2.LAN.String()+":80")
	serve(lb2, lb2.Mgmt.String()+":80")
	outside, err := net.Listen("tcp", "127.64.250.1:2379")
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	reaches := func(addr string) bool {
		ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
		defer cancel()
		conn, err := lb1.Dial(ctx, "tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	}
	const etcd = "127.64.250.1:2379"
	lan, mgmt := lb2.LAN.String()+":80", lb2.Mgmt.String()+":80"
	tests := []struct {
		name            string
		cuts            []Cut
		lan, mgmt, etcd bool
	}{
		{"nothing", nil, true, true, true},
		{"the LAN one way", Both(lanBridge, lb1, lb2)[:1], false, true, true},
		{"the LAN the other way", Both(lanBridge, lb1, lb2)[1:], false, true, true},
		{"all on mgmt", n.Alone(mgmtBridge, lb1), true, false, false},
		{"etcd", NoEtcd(lb1), true, true, false},
		{"etcd of another", NoEtcd(lb2), true, true, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := n.Cut(t.Context(), tt.cuts...); err != nil {
				t.Fatal(err)
			}
			for addr, want := range map[string]bool{lan: tt.lan, mgmt: tt.mgmt, etcd: tt.etcd} {
				if got := reaches(addr); got != want {
					t.Errorf("reaches %s = %t, want %t", addr, got, want)
				}
			}
			if err := n.Mend(t.Context()); err != nil {
				t.Fatal(err)
			}
		})
	}
	if err := n.Unplug(lb1); err != nil {
		t.Fatal(err)
	}
	if reaches(lan) {
		t.Error("an unplugged host reaches the LAN")
	}
	if err := n.Plug(t.Context(), lb1); err != nil {
		t.Fatal(err)
	}
	if !reaches(lan) || !reaches(mgmt) || !reaches(etcd) {
		t.Error("a host that is plugged in again does not reach everything")
	}
	if len(lb1.PIDs()) != 0 {
		t.Errorf("processes on lb1: %v, want none", lb1.PIDs())
	}
}
