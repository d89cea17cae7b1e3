package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// sendPatience bounds a send to a keeper that takes nothing: its silence decides.
const sendPatience = 20 * time.Millisecond

// reapPatience bounds the wait for the end of one that was killed: it may hang in
// the kernel, where it does nothing either.
const reapPatience = 200 * time.Millisecond

// keeper is one child process. It is ended by kill or dismiss, once.
type keeper struct {
	cmd     *exec.Cmd
	socket  *os.File
	packets chan *beat.FromKeeper // closed by hear
	gone    chan struct{}         // closed when the process has been waited for
	over    chan struct{}         // closed by end: nobody takes packets any more
	hearing sync.WaitGroup
	once    sync.Once // of end

	trouble error // why hear ended; read after packets is closed
}

// spawn starts a keeper with its end of a socket pair as descriptor 3.
func (s *Supervisor) spawn() (*keeper, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "keeper")
	defer theirs.Close()
	k := &keeper{
		cmd:     exec.Command(s.o.Command[0], s.o.Command[1:]...),
		socket:  os.NewFile(uintptr(pair[0]), "keeper"),
		packets: make(chan *beat.FromKeeper),
		gone:    make(chan struct{}), over: make(chan struct{}),
	}
	k.cmd.ExtraFiles = []*os.File{theirs}
	k.cmd.Stderr = os.Stderr
	// A process group of its own: ^C at a terminal is for the main process, which has
	// the address handed over first. No death signal: the keeper cleans up after us.
	k.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, AmbientCaps: ambient()}
	if err := k.cmd.Start(); err != nil {
		k.socket.Close()
		return nil, fmt.Errorf("start of the keeper: %w", err)
	}
	k.hearing.Go(k.hear)
	k.hearing.Go(func() {
		_ = k.cmd.Wait() // ProcessState tells
		close(k.gone)
	})
	return k, nil
}

func (k *keeper) pid() int { return k.cmd.Process.Pid }

// hear reads packets until the socket ends or says nonsense.
func (k *keeper) hear() {
	defer close(k.packets)
	buf := make([]byte, beat.MaxPacket)
	for {
		n, err := k.socket.Read(buf)
		if err != nil {
			k.trouble = err
			return
		}
		p := new(beat.FromKeeper)
		if err := json.Unmarshal(buf[:n], p); err != nil {
			k.trouble = errNonsense
			return
		}
		select {
		case k.packets <- p:
		case <-k.over:
			return
		}
	}
}

var errNonsense = errors.New("it sent what is no beat")

// ended says why packets was closed.
func (k *keeper) ended() string {
	if errors.Is(k.trouble, errNonsense) {
		return errNonsense.Error()
	}
	select {
	case <-k.gone:
		return "it ended: " + k.cmd.ProcessState.String()
	case <-time.After(reapPatience):
		return "it closed its end of the socket"
	}
}

// send sends one packet; what cannot be sent is lost.
func (k *keeper) send(p *beat.ToKeeper) {
	data, err := json.Marshal(p)
	if err != nil {
		panic("BUG: a beat that is no JSON: " + err.Error())
	}
	_ = k.socket.SetWriteDeadline(time.Now().Add(sendPatience)) // a socket has deadlines
	_, _ = k.socket.Write(data)                                 // its silence will tell
}

// kill ends it at once.
func (k *keeper) kill() {
	_ = k.cmd.Process.Kill() // it may have ended
	k.end()
	select {
	case <-k.gone:
		k.hearing.Wait()
	case <-time.After(reapPatience):
	}
}

// dismiss lets it give the address up and go, and ends it if it does not.
func (k *keeper) dismiss() {
	k.end()
	select {
	case <-k.gone:
		k.hearing.Wait()
	case <-time.After(closePatience):
		k.kill()
	}
}

// end closes this side of the socket, which tells a living keeper to give up.
func (k *keeper) end() {
	k.once.Do(func() {
		close(k.over)
		k.socket.Close()
	})
}

// uptime is CLOCK_BOOTTIME: it goes on while the machine is suspended.
func uptime() time.Duration {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &now); err != nil {
		panic("BUG: no CLOCK_BOOTTIME: " + err.Error())
	}
	return time.Duration(now.Nano())
}
