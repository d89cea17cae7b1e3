package keeper

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// prepare makes this process one that holds an address: it is to run when nothing
// else does, and no signal but SIGKILL ends it. What the system does not permit is
// left; none of it is needed on a machine that is not overloaded.
func prepare() {
	// The terminal's SIGINT and systemd's SIGTERM reach the whole group; when to
	// leave is for the main process to say, and its end is seen at once.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGPIPE)
	takePrecedence()
}

// takePrecedence asks for what a process needs that others wait for.
func takePrecedence() {
	// The loop, and one more for what waits.
	runtime.GOMAXPROCS(min(2, runtime.NumCPU()))
	debug.SetGCPercent(400) // of a heap of a few megabytes
	if tasks, err := os.ReadDir("/proc/self/task"); err == nil {
		for _, t := range tasks {
			if tid, err := strconv.Atoi(t.Name()); err == nil {
				_ = unix.Setpriority(unix.PRIO_PROCESS, tid, niceness) // needs CAP_SYS_NICE
			}
		}
	}
	// Main memory that this process has touched stays: a page to be read back from
	// a busy disk would be a gap. Only without a limit, which allocations would fail at.
	unlimited := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	if unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unlimited) == nil {
		_ = unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT)
	}
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-900"), 0) // needs CAP_SYS_RESOURCE
}

// niceness is that of programs which others wait for.
const niceness = -10

// kept are the capabilities for netlink and for packet sockets.
const kept = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW

// confine gives up what this process may do besides its work. It acts on every
// thread, which works without cgo only.
func confine() error {
	for _, call := range [][3]uintptr{
		{unix.PR_SET_NO_NEW_PRIVS, 1, 0},
		{unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0},
	} {
		if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, call[0], call[1], call[2], 0, 0, 0); errno != 0 {
			return fmt.Errorf("prctl %d: %w", call[0], errno)
		}
	}
	return errors.Join(dropBounding(), dropSets())
}

// dropBounding empties the bounding set as far as that is permitted; with
// no_new_privs it matters no more.
func dropBounding() error {
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if kept&(1<<c) != 0 {
			continue
		}
		_, _, errno := syscall.AllThreadsSyscall(unix.SYS_PRCTL, unix.PR_CAPBSET_DROP, c, 0)
		if errno == unix.EPERM {
			return nil // no CAP_SETPCAP: then there is little to give up
		}
		if errno != 0 && errno != unix.EINVAL { // an older kernel has fewer
			return fmt.Errorf("capability %d: %w", c, errno)
		}
	}
	return nil
}

// dropSets leaves of this process's capabilities those that it works with.
func dropSets() error {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	data[0].Effective &= kept
	data[0].Permitted &= kept
	data[0].Inheritable = 0
	data[1] = unix.CapUserData{} // both are below 32
	return capset(header, &data)
}

func capset(header *unix.CapUserHeader, data *[2]unix.CapUserData) error {
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(data)), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}
