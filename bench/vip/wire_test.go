package vip

import (
	"net"
	"testing"
	"time"
)

// TestBadLine sends datagrams over a line that delays them and loses some.
func TestBadLine(t *testing.T) {
	requireNetwork(t)
	n, hosts, _ := newLAN(t, "10.99.0.100", "lb1", "lb2")
	listener := udp(t, hosts["lb2"], hosts["lb2"].LAN.String()+":9")
	sender := udp(t, hosts["lb1"], hosts["lb1"].LAN.String()+":9")
	to := listener.LocalAddr()
	// exchange sends datagrams and gives how many came, and how long the first took.
	exchange := func(count int) (got int, first time.Duration) {
		began := time.Now()
		for range count {
			if _, err := sender.WriteTo([]byte("hello"), to); err != nil {
				t.Fatal(err)
			}
		}
		listener.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
		buf := make([]byte, 64)
		for {
			if _, _, err := listener.ReadFrom(buf); err != nil {
				return got, first
			}
			if got++; got == 1 {
				first = time.Since(began)
			}
		}
	}
	if got, _ := exchange(10); got != 10 {
		t.Fatalf("%d of 10 datagrams came over the good line", got)
	}
	w, err := n.Degrade(t.Context(), lanBridge, hosts["lb1"], quality{loss: 0.5, delay: 60 * time.Millisecond, jitter: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	got, first := exchange(200)
	if got < 50 || got > 150 {
		t.Errorf("%d of 200 datagrams came over a line that loses half", got)
	}
	if first < 40*time.Millisecond {
		t.Errorf("the first took %v, at least 40 ms", first)
	}
	w.restore()
	if got, _ := exchange(10); got != 10 {
		t.Errorf("%d of 10 datagrams came over the restored line", got)
	}
}

func udp(t *testing.T, h *Host, addr string) (c net.PacketConn) {
	t.Helper()
	err := h.Do(func() (err error) {
		c, err = net.ListenPacket("udp", addr)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
