package lab

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const (
	// root holds the slots and the templates of all labs of the machine. It is
	// not below TMPDIR: programs with different ones share the addresses.
	root = "/tmp/pgvip-lab"

	slots     = 64
	firstByte = 64 // slot s owns 127.(firstByte+s).0.0/16
)

// watchdog is the shell program that clears a slot when its owner goes.
//
//go:embed watchdog.sh
var watchdog string

// slot is the right to use one set of addresses and one directory.
type slot struct {
	number  int
	dir     string
	account *account
	version int // of its PostgreSQL servers

	lock  *os.File  // flock; the watchdog holds it too, until the slot is clear
	alive *os.File  // its closing, by release or by our death, wakes the watchdog
	guard *exec.Cmd // the watchdog

	released sync.Once
}

// takeSlot locks the first free slot, clears what an earlier owner may have
// left there, and makes its directory. It waits for a slot when all are taken.
func takeSlot(ctx context.Context) (*slot, error) {
	who, err := unprivileged()
	if err != nil {
		return nil, err
	}
	if err := makeRoot(); err != nil {
		return nil, err
	}
	var last error
	for {
		for n := range slots {
			s := &slot{number: n, dir: filepath.Join(root, "slot-"+strconv.Itoa(n)), account: who, version: 15}
			if last = s.take(); last == nil {
				return s, nil
			}
		}
		if err := pause(ctx, 200*time.Millisecond); err != nil {
			return nil, fmt.Errorf("lab: no free slot: %w", errors.Join(err, last))
		}
	}
}

// makeRoot makes the directory of all labs: like /tmp, everyone may add to it
// and nobody may remove another's.
func makeRoot() error {
	if err := os.Mkdir(root, 0o777); errors.Is(err, fs.ErrExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return os.Chmod(root, 0o777|fs.ModeSticky) // Mkdir's mode went through the umask
}

func (s *slot) take() error {
	lock, err := openLock(s.dir + ".lock")
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return fmt.Errorf("lab: slot %d: %w", s.number, err)
	}
	s.lock = lock
	if err := s.open(); err != nil {
		lock.Close()
		return err
	}
	return nil
}

// openLock opens a lock file for whoever asks. O_CREAT only where it is needed:
// the kernel refuses it for another user's file in a sticky directory
// (fs.protected_regular).
func openLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
		if err == nil {
			err = f.Chmod(0o666)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("lab: %w", err)
	}
	return f, nil
}

// open makes the directory of a locked slot and starts the watchdog, after it
// has cleared what may have outlived an earlier owner together with its watchdog.
func (s *slot) open() error {
	if out, err := s.watch().CombinedOutput(); err != nil {
		return fmt.Errorf("lab: slot %d: clear: %w: %s", s.number, err, out)
	}
	if err := os.Mkdir(s.dir, 0o755); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	if err := s.account.own(s.dir); err != nil {
		return err
	}
	wake, alive, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer wake.Close()
	s.alive, s.guard = alive, s.watch()
	s.guard.Stdin = wake
	s.guard.ExtraFiles = []*os.File{s.lock}
	if err := s.guard.Start(); err != nil {
		alive.Close()
		return fmt.Errorf("lab: watchdog: %w", err)
	}
	return nil
}

// watch is the watchdog's command. Without standard input it clears the slot at
// once. In a session of its own, it does not die of the terminal's Ctrl-C.
func (s *slot) watch() *exec.Cmd {
	cmd := exec.Command("/bin/sh", "-c", watchdog, "pgvip-lab-watchdog", s.dir)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// release kills all processes of the slot, removes its files and gives it back.
// A second call does nothing.
func (s *slot) release() (err error) {
	s.released.Do(func() {
		s.alive.Close()
		err = s.guard.Wait()
		s.lock.Close()
	})
	if err != nil {
		return fmt.Errorf("lab: slot %d: clear: %w", s.number, err)
	}
	return nil
}

// host is the address of node n, counted from 1. Numbers from 100 up are free
// for the owner's own listeners.
func (s *slot) host(n int) string {
	return fmt.Sprintf("127.%d.0.%d", firstByte+s.number, n)
}

// pause waits for d, or for ctx to end, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
