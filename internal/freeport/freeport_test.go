package freeport

import (
	"net"
	"testing"
)

// TestAddrStaysFree: connections within the machine come from 127.0.0.1, so they
// cannot take the port.
func TestAddrStaysFree(t *testing.T) {
	addr, err := Addr()
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // and again on the same address, as a restarted server does
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		if from := conn.LocalAddr().(*net.TCPAddr).IP.String(); from != "127.0.0.1" {
			t.Errorf("connected from %s, so ports of %s do not stay free", from, addr)
		}
		conn.Close()
		l.Close()
	}
}

func TestHostOfProcess(t *testing.T) {
	for pid, want := range map[int]string{
		1:         "127.192.0.1",
		0x010203:  "127.193.2.3",
		1<<22 - 1: "127.255.255.255",
	} {
		if got := host(pid); got != want {
			t.Errorf("host(%d) = %s, want %s", pid, got, want)
		}
	}
}
