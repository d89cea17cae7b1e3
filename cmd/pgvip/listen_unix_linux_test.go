package main

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/config"
)

func unixConfig(backlog int) *config.Config {
	c := config.Default()
	c.ListenBacklog = backlog
	return c
}

// Linux lets one connection more wait than the backlog says.
func TestListenBacklogBoundsUnixSockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".s.PGSQL.5000")
	l, err := listenUnix(unixConfig(2), path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for n := range 4 {
		// Go's own dialer would wait.
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if want := n == 3; errors.Is(err, unix.EAGAIN) != want {
			t.Errorf("connection %d: %v, want refused for now: %t", n+1, err, want)
		}
	}
}

func TestUnixSocketLeftBehindIsReplacedAndOneInUseIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".s.PGSQL.5000")
	dead, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	dead.SetUnlinkOnClose(false) // as after a kill -9
	dead.Close()
	l, err := listenUnix(unixConfig(16), path)
	if err != nil {
		t.Fatalf("beside a socket left behind: %v", err)
	}
	defer l.Close()
	accepted(t, l)
	if _, err := listenUnix(unixConfig(16), path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("beside a socket in use: %v, want %v", err, syscall.EADDRINUSE)
	}
}

// Neither a socket whose queue is full nor anything else is taken for one that
// was left behind.
func TestUnixSocketsOfOthersStay(t *testing.T) {
	dir := t.TempDir()
	full := filepath.Join(dir, "full")
	l, err := listenUnix(unixConfig(1), full)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for range 3 {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		unix.Connect(fd, &unix.SockaddrUnix{Name: full})
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{full, file} {
		if _, err := listenUnix(unixConfig(16), path); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("%s: %v, want %v", filepath.Base(path), err, syscall.EADDRINUSE)
		}
		if _, err := os.Stat(path); err != nil {
			t.Error(err)
		}
	}
}

func TestUnixSocketsHaveTheirModeAndGroup(t *testing.T) {
	for _, tt := range []struct {
		name, group string
		mode        fs.FileMode
		gid         uint32
		fault       string
	}{
		{"default", "", 0o777, uint32(os.Getegid()), ""},
		{"mode", "", 0o640, uint32(os.Getegid()), ""},
		{"group by name", "daemon", 0o660, 1, ""},
		{"group by number", "2", 0o660, 2, ""},
		{"no such group", "nobody-has-this", 0o660, 0, "listen.unix_socket_group"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if os.Geteuid() != 0 && tt.gid != uint32(os.Getegid()) {
				t.Skip("needs root")
			}
			c := unixConfig(16)
			c.Listen.UnixSocketMode, c.Listen.UnixSocketGroup = tt.mode, tt.group
			path := filepath.Join(t.TempDir(), ".s.PGSQL.5000")
			l, err := listenUnix(c, path)
			if tt.fault != "" {
				if err == nil || !strings.Contains(err.Error(), tt.fault) {
					t.Errorf("%v, want %q", err, tt.fault)
				}
				if _, err := os.Lstat(path); err == nil {
					t.Error("the socket is left behind")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			info, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			if got := info.Mode().Perm(); got != tt.mode {
				t.Errorf("mode %v, want %v", got, tt.mode)
			}
			if got := info.Sys().(*syscall.Stat_t).Gid; got != tt.gid {
				t.Errorf("group %d, want %d", got, tt.gid)
			}
			old := syscall.Umask(0o22)
			syscall.Umask(old)
			if old == 0o777 {
				t.Error("the umask is not as it was")
			}
		})
	}
}

// An abstract socket leaves nothing behind, and is in use while it lives.
func TestAbstractUnixSocket(t *testing.T) {
	path := "@" + filepath.Join(t.TempDir(), ".s.PGSQL.5000")
	l, err := listenUnix(unixConfig(16), path)
	if err != nil {
		t.Fatal(err)
	}
	accepted(t, l)
	if _, err := listenUnix(unixConfig(16), path); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("beside one in use: %v, want %v", err, syscall.EADDRINUSE)
	}
	l.Close()
	if l, err = listenUnix(unixConfig(16), path); err != nil {
		t.Fatalf("after it: %v", err)
	}
	l.Close()
}
