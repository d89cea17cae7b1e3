package loop

import (
	"encoding/binary"
	"io"
	"net"
	"os"
	"os/exec"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asStranger makes the test binary the peer of TestLoopStarvesNobody: another
// process, since what a goroutine of this one does would tell the scheduler that
// something is going on.
const asStranger = "PGVIP_LOOP_STRANGER"

const (
	strangeRounds = 6
	restFor       = 150 * time.Millisecond // until this process sleeps, its scheduler's monitor too
	pings         = 60                     // then a byte for the loop each strangePace
	strangePace   = 3 * time.Millisecond
	stampAt       = 10 // the ping before which the bystander is told the time
)

// stranger keeps a loop busy by descriptor 3, after a rest each time, and in the
// midst of it sends the time to a bystander by descriptor 4.
func stranger() {
	var b [8]byte
	for range strangeRounds {
		time.Sleep(restFor)
		for ping := range pings {
			if ping == stampAt {
				binary.BigEndian.PutUint64(b[:], uint64(monotonic()))
				_, _ = unix.Write(4, b[:])
			}
			_, _ = unix.Write(3, b[:1])
			_, _ = unix.Read(3, b[:1])
			time.Sleep(strangePace)
		}
	}
	os.Exit(0)
}

// monotonic is the time by a clock that all processes share.
func monotonic() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return time.Duration(ts.Nano())
}

// TestLoopStarvesNobody: when a process that slept is woken by its loop's sockets
// alone, and they keep it busy, a goroutine that waits for another socket hears of it
// all the same. Nobody might look: the thread that waited for Go's poller runs the
// loop then, which makes no system call that the scheduler knows of, and the
// scheduler's monitor still sleeps.
func TestLoopStarvesNobody(t *testing.T) {
	l := running(t)
	fd, peer := pairAcross(t)
	if err := unix.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	var c Conn
	echo := &recorder{onData: func(c *Conn, b []byte) int { c.Write(b); return 0 }}
	on(t, l, func() {
		if err := l.Add(&c, fd, ClassClient, echo, nil); err != nil {
			t.Error(err)
		}
	})
	own, theirs := pairAcross(t)
	bystander := connOf(t, own)
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asStranger+"=1")
	cmd.ExtraFiles = []*os.File{peer, theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var b [8]byte
	late := 0
	for range strangeRounds {
		if _, err := io.ReadFull(bystander, b[:]); err != nil {
			t.Fatal(err)
		}
		after := monotonic() - time.Duration(binary.BigEndian.Uint64(b[:]))
		t.Logf("heard after %v", after)
		if after > 50*time.Millisecond {
			late++
		}
	}
	// One may be late where all processors are taken; it is every one that is when
	// nobody looks, by the rest of the round.
	if late > strangeRounds/2 {
		t.Errorf("a goroutine heard of what was sent to it after more than 50 ms in %d of %d rounds", late, strangeRounds)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// pairAcross makes a socket of this process, and its other end for another one.
func pairAcross(t *testing.T) (int, *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs := os.NewFile(uintptr(fds[1]), "theirs")
	t.Cleanup(func() { theirs.Close() })
	return fds[0], theirs
}

func connOf(t *testing.T, fd int) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(fd), "ours")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}
