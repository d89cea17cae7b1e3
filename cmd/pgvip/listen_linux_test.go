package main

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/config"
)

// descriptor runs f on the socket of a connection or a listener.
func descriptor(t *testing.T, socket any, f func(fd int)) {
	t.Helper()
	raw, err := socket.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) { f(int(fd)) }); err != nil {
		t.Fatal(err)
	}
}

// accepted gives the listener's end of a new connection.
func accepted(t *testing.T, l net.Listener) net.Conn {
	t.Helper()
	client, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func TestAcceptedSocketsHaveTheConfiguredKeepalive(t *testing.T) {
	tests := []struct {
		name      string
		keepalive config.Keepalive
		want      map[int]int // TCP options
		enabled   int
	}{
		{"default", config.Default().Keepalive, map[int]int{
			unix.TCP_KEEPIDLE: 10, unix.TCP_KEEPINTVL: 3, unix.TCP_KEEPCNT: 3, unix.TCP_USER_TIMEOUT: 60_000}, 1},
		{"own", config.Keepalive{Enabled: true, Idle: 7 * time.Second, Interval: 2 * time.Second, Count: 5, UserTimeout: 1500 * time.Millisecond}, map[int]int{
			unix.TCP_KEEPIDLE: 7, unix.TCP_KEEPINTVL: 2, unix.TCP_KEEPCNT: 5, unix.TCP_USER_TIMEOUT: 1500}, 1},
		{"off", config.Keepalive{Idle: 7 * time.Second, Interval: 2 * time.Second, Count: 5}, map[int]int{unix.TCP_USER_TIMEOUT: 0}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default()
			c.Keepalive = tt.keepalive
			l, err := listenTCP(c, "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			wantOptions(t, accepted(t, l), tt.enabled, tt.want)
			other := config.Default()
			other.Keepalive = config.Keepalive{Enabled: !tt.keepalive.Enabled, Idle: time.Second, Interval: time.Second, Count: 1}
			if err := errors.Join(tune(l, other), tune(l, c)); err != nil {
				t.Fatal(err)
			}
			wantOptions(t, accepted(t, l), tt.enabled, tt.want)
		})
	}
}

// wantOptions compares the options of a socket.
func wantOptions(t *testing.T, conn net.Conn, keepalive int, options map[int]int) {
	t.Helper()
	descriptor(t, conn, func(fd int) {
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE); err != nil || got != keepalive {
			t.Errorf("SO_KEEPALIVE = %d, %v, want %d", got, err, keepalive)
		}
		for option, want := range options {
			if got, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, option); err != nil || got != want {
				t.Errorf("TCP option %d = %d, %v, want %d", option, got, err, want)
			}
		}
	})
}

// The kernel shows a listener's backlog in TCP_INFO, in the place of tcpi_sacked.
func TestListenerIsTCPWithTheConfiguredBacklog(t *testing.T) {
	c := config.Default()
	c.ListenBacklog = 77
	l, err := listenTCP(c, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	accepted(t, l) // it still listens
	descriptor(t, l, func(fd int) {
		if got, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL); err != nil || got != unix.IPPROTO_TCP {
			t.Errorf("protocol = %d, %v, want TCP", got, err)
		}
		if info, err := unix.GetsockoptTCPInfo(fd, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.Sacked != 77 {
			t.Errorf("backlog = %d, %v, want 77", info.Sacked, err)
		}
	})
}

func TestListenErrorsSayWhatToDo(t *testing.T) {
	c := config.Default()
	taken, err := listenTCP(c, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := taken.Addr().(*net.TCPAddr).Port
	for _, tt := range []struct {
		name    string
		address config.Address
		want    string
	}{
		{"in use", config.Address{Host: "127.0.0.1", Port: port}, "address already in use: \"ss -ltnpx\""},
		// TEST-NET-3, RFC 5737: nobody has it.
		{"not here", config.Address{Host: "203.0.113.1", Port: port}, "no interface of this machine has it"},
	} {
		_, err := listenAll(c, []config.Address{tt.address})
		if err == nil || !strings.HasPrefix(err.Error(), "listen on "+tt.address.String()+": ") || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want the address and %q", tt.name, err, tt.want)
		}
	}
}
