package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// dataCalls is every system call that moves bytes over a socket, whatever came
// of it: one that returns EAGAIN costs as well.
var dataCalls = []string{
	"read", "readv", "recvfrom", "recvmsg", "recvmmsg",
	"write", "writev", "sendto", "sendmsg", "sendmmsg",
	"splice", "sendfile64",
}

// Counter counts system calls of programs through the kernel's
// tracepoints. Unlike strace it does not slow them down, and a slowed proxy
// finds more bytes at each read: it would count too few. Close ends it.
type Counter struct {
	files []int
}

// CountDataCalls begins to count the data system calls of all threads of the
// programs, those to come included. It needs root, or CAP_PERFMON, and tracefs.
func CountDataCalls(programs ...*Process) (*Counter, error) {
	events := make([]string, 0, len(dataCalls))
	for _, call := range dataCalls {
		events = append(events, "syscalls/sys_enter_"+call)
	}
	return count(programs, events)
}

// CountAllCalls is CountDataCalls for every system call.
func CountAllCalls(programs ...*Process) (*Counter, error) {
	return count(programs, []string{"raw_syscalls/sys_enter"})
}

// count attaches to every program or to none.
func count(programs []*Process, events []string) (*Counter, error) {
	ids, err := tracepoints(events)
	if err != nil {
		return nil, fmt.Errorf("count system calls: %w", err)
	}
	c := &Counter{}
	for _, p := range programs {
		if err := c.attach(p.PID(), ids); err != nil {
			c.Close()
			return nil, fmt.Errorf("count system calls of %s: %w", p.name, err)
		}
	}
	return c, nil
}

// attach opens one counter for each thread and event. They are inherited by
// threads that begin later, and reading one adds those up.
func (c *Counter) attach(pid int, ids []uint64) error {
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return err
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil {
			return err
		}
		for _, id := range ids {
			attr := unix.PerfEventAttr{
				Type: unix.PERF_TYPE_TRACEPOINT, Config: id, Bits: unix.PerfBitInherit,
			}
			attr.Size = uint32(unsafe.Sizeof(attr))
			fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
			if errors.Is(err, unix.ESRCH) {
				break // the thread has ended meanwhile
			}
			if err != nil {
				return err
			}
			c.files = append(c.files, fd)
		}
	}
	return nil
}

// Count is the number of calls so far.
func (c *Counter) Count() (int64, error) {
	var sum int64
	for _, fd := range c.files {
		var b [8]byte
		if n, err := unix.Read(fd, b[:]); err != nil || n != len(b) {
			return 0, fmt.Errorf("count system calls: read %d bytes: %w", n, err)
		}
		sum += int64(binary.NativeEndian.Uint64(b[:]))
	}
	return sum, nil
}

// Close ends the counting.
func (c *Counter) Close() {
	for _, fd := range c.files {
		unix.Close(fd)
	}
	c.files = nil
}

// tracepoints finds the kernel's numbers of events. Those of system calls that
// this architecture does not have are left out.
func tracepoints(events []string) ([]uint64, error) {
	root, release, err := tracefs()
	if err != nil {
		return nil, err
	}
	defer release()
	var ids []uint64
	for _, event := range events {
		text, err := os.ReadFile(filepath.Join(root, "events", event, "id"))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		id, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return nil, errors.New("the kernel has no tracepoints of system calls")
	}
	return ids, nil
}

// tracefs finds the mounted tracefs, or mounts it for as long as the numbers
// are read, in a place of our own.
func tracefs() (root string, release func(), err error) {
	for _, root := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(filepath.Join(root, "events")); err == nil {
			return root, func() {}, nil
		}
	}
	dir, err := os.MkdirTemp("", "pgvip-tracefs-")
	if err != nil {
		return "", nil, err
	}
	if err := unix.Mount("tracefs", dir, "tracefs", 0, ""); err != nil {
		os.Remove(dir)
		return "", nil, fmt.Errorf("mount tracefs: %w", err)
	}
	return dir, func() {
		_ = unix.Unmount(dir, 0) // nothing is open there any more
		os.Remove(dir)
	}, nil
}
