package keeper

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// A rider stands for the main process: this test binary once more, in a node's
// namespace, with a keeper as its child. The test tells it packets on its standard
// input and reads what the keeper says from its standard output.
const role = "PGVIP_TEST_ROLE"

// keeperBinary in the environment is a pgvip to take for the keeper.
const keeperBinary = "PGVIP_TEST_KEEPER"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "keeper":
		if err := Run(3); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	case "rider":
		if err := ride(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	default:
		os.Exit(m.Run())
	}
}

// line of the rider's output.
type said struct {
	PID  int              `json:",omitempty"` // of the keeper
	Told *beat.FromKeeper `json:",omitempty"`
	Exit string           `json:",omitempty"` // of the keeper
}

// ride is the rider's main. It takes precedence over whatever else keeps the machine
// busy: its silence means something.
func ride() error {
	takePrecedence()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	theirs := os.NewFile(uintptr(fds[1]), "keeper")
	cmd := exec.Command(os.Args[0])
	if binary := os.Getenv(keeperBinary); binary != "" {
		cmd = exec.Command(binary, "keeper")
	}
	cmd.Env = append(os.Environ(), role+"=keeper")
	cmd.ExtraFiles, cmd.Stderr = []*os.File{theirs}, os.Stderr
	if err := cmd.Start(); err != nil {
		return err
	}
	theirs.Close()
	ours, err := net.FileConn(os.NewFile(uintptr(fds[0]), "main"))
	if err != nil {
		return err
	}
	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	say := func(s said) {
		mu.Lock()
		defer mu.Unlock()
		_ = out.Encode(s) // a test that has ended reads no more
	}
	say(said{PID: cmd.Process.Pid})
	go func() {
		err := cmd.Wait()
		say(said{Exit: fmt.Sprint(err)})
	}()
	go beats(ours)
	buf := make([]byte, beat.MaxPacket)
	for {
		n, err := ours.Read(buf)
		if err != nil {
			select {} // the keeper has gone; the test decides what next
		}
		var told beat.FromKeeper
		if err := json.Unmarshal(buf[:n], &told); err != nil {
			return err
		}
		say(said{Told: &told})
	}
}

// beats sends what the test says, and the last fitness over and over.
func beats(to net.Conn) {
	packets := make(chan beat.ToKeeper)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for {
			var p beat.ToKeeper
			if in.Decode(&p) != nil {
				os.Exit(0) // the test has ended
			}
			packets <- p
		}
	}()
	var last beat.ToKeeper
	tick := time.NewTicker(beat.Interval)
	for {
		select {
		case p := <-packets:
			if p.Fitness != nil {
				last.Fitness = p.Fitness
			}
			put(to, p)
		case <-tick.C:
			if last.Fitness != nil {
				put(to, last)
			}
		}
	}
}

func put(to net.Conn, p beat.ToKeeper) {
	b, err := json.Marshal(p)
	if err == nil {
		_, err = to.Write(b)
	}
	_ = err // the keeper is gone: what reads from it sees that
}

// rider is the test's handle on one.
type rider struct {
	t      *testing.T
	node   *netNode
	cmd    *exec.Cmd
	in     io.Writer
	stderr *strings.Builder
	ended  chan struct{} // closed when its output has ended

	mu     sync.Mutex
	pid    int             // guarded by mu; of the keeper
	status beat.FromKeeper // guarded by mu; the last
	events []beat.Event    // guarded by mu; all
	exit   string          // guarded by mu; of the keeper
}

var serving = &beat.Fitness{Listening: true, Healthy: 3}

// start starts a rider and its keeper on a node.
func (n *netNode) start(cfg *beat.Config) *rider {
	t := n.lan.t
	t.Helper()
	r := &rider{t: t, node: n, stderr: &strings.Builder{}, ended: make(chan struct{})}
	r.cmd = exec.Command("ip", "netns", "exec", n.ns, os.Args[0])
	r.cmd.Env = append(os.Environ(), role+"=rider", "RUNTIME_DIRECTORY="+t.TempDir())
	r.cmd.Stderr = r.stderr
	r.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	in, err := r.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := r.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	r.in = in
	go r.read(out)
	t.Cleanup(r.kill)
	r.tell(beat.ToKeeper{Config: cfg, Fitness: serving})
	return r
}

func (r *rider) read(out io.Reader) {
	defer close(r.ended)
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var s said
		if err := json.Unmarshal(lines.Bytes(), &s); err != nil {
			continue // cut by a kill
		}
		r.mu.Lock()
		switch {
		case s.PID != 0:
			r.pid = s.PID
		case s.Told != nil:
			r.status = *s.Told
			r.events = append(r.events, s.Told.Events...)
		case s.Exit != "":
			r.exit = s.Exit
		}
		r.mu.Unlock()
	}
}

// tell has the rider send a packet.
func (r *rider) tell(p beat.ToKeeper) {
	r.t.Helper()
	if err := json.NewEncoder(r.in).Encode(p); err != nil {
		r.t.Error(err)
	}
}

// kill ends the rider at once, as kill -9 does; its keeper follows by itself.
func (r *rider) kill() {
	_ = r.cmd.Process.Kill() // gone already is as good
	<-r.ended
	_ = r.cmd.Wait() // it says "killed"
	if r.t.Failed() {
		r.t.Logf("node %d said %s\n%s\n%s", r.node.i, r.story(), r.last(), r.stderr)
	}
}

func (r *rider) signal(sig syscall.Signal) {
	r.t.Helper()
	if err := r.cmd.Process.Signal(sig); err != nil {
		r.t.Error(err)
	}
}

// keeper gives the keeper's process id.
func (r *rider) keeper() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.pid
}

// signalKeeper sends a signal to the keeper.
func (r *rider) signalKeeper(sig syscall.Signal) {
	r.t.Helper()
	if err := syscall.Kill(r.keeper(), sig); err != nil {
		r.t.Error(err)
	}
}

// until waits for a status.
func (r *rider) until(what string, is func(beat.Status) bool) beat.Status {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		r.mu.Lock()
		s := r.status.Status
		r.mu.Unlock()
		if is(s) {
			return s
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("node %d: %s did not come: %+v", r.node.i, what, s)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// event waits for one of a kind with a text.
func (r *rider) event(kind, text string) {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		r.mu.Lock()
		for _, e := range r.events {
			if e.Kind == kind && strings.Contains(e.Text, text) {
				r.mu.Unlock()
				return
			}
		}
		r.mu.Unlock()
		if time.Now().After(deadline) {
			r.t.Fatalf("node %d told no event %q with %q:\n%s", r.node.i, kind, text, r.story())
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// exited waits for the keeper's end and returns it.
func (r *rider) exited() string {
	r.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; {
		r.mu.Lock()
		exit := r.exit
		r.mu.Unlock()
		if exit != "" {
			return exit
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the keeper of node %d still runs", r.node.i)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func (r *rider) story() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var b strings.Builder
	for _, e := range r.events {
		fmt.Fprintf(&b, "\n  %s %s: %s", e.Kind, e.State, e.Text)
	}
	return b.String()
}

func (r *rider) last() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprintf("%+v", r.status.Status)
}

func is(state beat.State) func(beat.Status) bool {
	return func(s beat.Status) bool { return s.State == state }
}
