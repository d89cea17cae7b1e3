package vip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/vishvananda/netns"

	"github.com/pgvip/pgvip/bench/proc"
)

// Names of a host's interfaces.
const (
	lanIface  = "eth0"
	mgmtIface = "eth1"
)

// Host is a machine on the LAN: a network namespace without a name.
type Host struct {
	Name string
	N    int        // the last byte of its addresses
	LAN  netip.Addr // 10.99.0.N
	Mgmt netip.Addr // 10.98.0.N
	MAC  net.HardwareAddr

	ns    netns.NsHandle
	inode string // of ns, as /proc/<pid>/ns/net shows it
}

// lan6 is the host's IPv6 address on the LAN.
func (h *Host) lan6() string { return fmt.Sprintf("fd99::%d", h.N) }

// newHost makes a namespace with loopback alone; Network.Plug connects it.
func newHost(name string, n int) (*Host, error) {
	h := &Host{
		Name: name, N: n,
		LAN:  netip.AddrFrom4([4]byte{10, 99, 0, byte(n)}),
		Mgmt: netip.AddrFrom4([4]byte{10, 98, 0, byte(n)}),
		MAC:  net.HardwareAddr{2, 0, 10, 99, 0, byte(n)},
	}
	err := onThread(func() (err error) {
		home, err := netns.Get()
		if err != nil {
			return err
		}
		defer home.Close()
		if h.ns, err = netns.New(); err != nil {
			return err
		}
		h.inode, err = os.Readlink("/proc/thread-self/ns/net")
		return errors.Join(err, netns.Set(home))
	})
	if err != nil {
		return nil, fmt.Errorf("host %s: %w", name, err)
	}
	return h, nil
}

// onThread runs f on a thread that nobody else uses meanwhile. When f fails the
// thread ends: nobody knows in which namespace it is.
func onThread(f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := f()
		if err == nil {
			runtime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// Do runs f in the host's namespace: sockets made by f belong to the host.
// Goroutines that f starts do not.
func (h *Host) Do(f func() error) error {
	var failed error // f's own, after which the thread is fine
	err := onThread(func() error {
		home, err := netns.Get()
		if err != nil {
			return err
		}
		defer home.Close()
		if err := netns.Set(h.ns); err != nil {
			return err
		}
		failed = f()
		return netns.Set(home)
	})
	if err != nil {
		return fmt.Errorf("host %s: %w", h.Name, err)
	}
	return failed
}

// Dial connects from the host. The address is a literal one.
func (h *Host) Dial(ctx context.Context, network, addr string) (conn net.Conn, err error) {
	err = h.Do(func() (err error) {
		conn, err = (&net.Dialer{}).DialContext(ctx, network, addr)
		return err
	})
	return conn, err
}

// Listen listens on the host.
func (h *Host) Listen(ctx context.Context, network, addr string) (l net.Listener, err error) {
	err = h.Do(func() (err error) {
		l, err = (&net.ListenConfig{}).Listen(ctx, network, addr)
		return err
	})
	return l, err
}

// Command makes a command that runs on the host.
func (h *Host) Command(ctx context.Context, args ...string) *exec.Cmd {
	all := h.enter(args)
	return exec.CommandContext(ctx, all[0], all[1:]...)
}

// enter is the command line that runs another one on the host, in the same process.
func (h *Host) enter(args []string) []string {
	ns := fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), int(h.ns))
	return append([]string{"nsenter", "--net=" + ns, "--"}, args...)
}

// Start starts a program on the host; it dies with the launcher.
func (h *Host) Start(ctx context.Context, l *proc.Launcher, spec proc.Spec) (*proc.Process, error) {
	spec.Args = h.enter(spec.Args)
	return l.Start(ctx, spec)
}

// Run runs a command on the host to its end.
func (h *Host) Run(ctx context.Context, args ...string) (string, error) {
	out, err := h.Command(ctx, args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("%s: %s: %w: %s", h.Name, strings.Join(args, " "), err, out)
	}
	return string(out), nil
}

// PIDs are the processes that run on the host, the youngest first, so that children
// come before their parents. The harness's own threads that are there for a moment
// do not count: its first thread never is.
func (h *Host) PIDs() []int {
	links, err := filepath.Glob("/proc/[0-9]*/ns/net")
	if err != nil {
		return nil
	}
	var all []int
	for _, path := range links {
		if inode, err := os.Readlink(path); err != nil || inode != h.inode {
			continue
		}
		if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil && pid != os.Getpid() {
			all = append(all, pid)
		}
	}
	slices.Sort(all)
	slices.Reverse(all)
	return all
}

// killAll ends every process of the host at once: none gets to act on another's
// end, so all are stopped first. That alone would not do: the kernel has the stopped
// children of a process that ends go on.
func (h *Host) killAll() {
	for h.signalAll(syscall.SIGSTOP) {
		h.signalAll(syscall.SIGKILL)
		time.Sleep(time.Millisecond) // they end in the background
	}
}

// signalAll sends a signal to every process of the host, and reports whether there are any.
func (h *Host) signalAll(sig syscall.Signal) bool {
	all := h.PIDs()
	for _, pid := range all {
		syscall.Kill(pid, sig) // one that has ended by itself is what we want
	}
	return len(all) > 0
}

func (h *Host) close() { h.ns.Close() }
