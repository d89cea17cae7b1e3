package supervise

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// The test binary is the keeper as well: it can do what a real one cannot be made
// to do.
const (
	asKeeper = "fake-keeper"
	asMain   = "fake-main"
)

func TestMain(m *testing.M) {
	switch {
	case len(os.Args) > 2 && os.Args[1] == asKeeper:
		os.Exit(fakeKeeper(os.Args[2], os.Args[3]))
	case len(os.Args) > 2 && os.Args[1] == asMain:
		fakeMain(os.Args[2], os.Args[3])
	}
	goleak.VerifyTestMain(m)
}

// fakeMain is a main process of its own, for tests that stop it.
func fakeMain(modes, dir string) {
	s := New(Options{
		Command: []string{"/proc/self/exe", asKeeper, modes, dir},
		Fitness: func() beat.Fitness { return beat.Fitness{} },
		Event:   func(e beat.Event) { fmt.Println(e.Text) },
		Log:     zap.NewNop(),
	})
	s.Start()
	select {} // until it is killed
}

// fakeKeeper lives as the entry of modes for this life says, the last one for all
// further lives, and writes what it gets to a file of its life's number.
func fakeKeeper(modes, dir string) int {
	lives := strings.Split(modes, ",")
	n := life(dir)
	mode := lives[min(n, len(lives))-1]
	if mode == "crash" {
		return 3
	}
	k := &fake{
		mode:   mode,
		socket: os.NewFile(3, "socket"),
		log:    must(os.OpenFile(filepath.Join(dir, strconv.Itoa(n)), os.O_CREATE|os.O_WRONLY, 0o600)),
	}
	return k.run()
}

// life counts the keepers by files, since they know nothing of each other.
func life(dir string) int {
	for n := 1; ; n++ {
		f, err := os.OpenFile(filepath.Join(dir, fmt.Sprint("life", n)), os.O_CREATE|os.O_EXCL, 0o600)
		switch {
		case err == nil:
			f.Close()
			return n
		case !errors.Is(err, os.ErrExist): // the test is over
			os.Exit(1)
		}
	}
}

func must[T any](t T, err error) T {
	if err != nil {
		panic(err)
	}
	return t
}

type fake struct {
	mode   string
	socket *os.File
	log    *os.File
	holds  bool
}

func (k *fake) run() int {
	k.holds = k.mode == "holds"
	buf := make([]byte, beat.MaxPacket)
	for said := 0; ; said++ {
		n, err := k.socket.Read(buf)
		if err != nil {
			fmt.Fprintln(k.log, `"eof"`)
			if k.mode == "deaf" {
				select {}
			}
			return 0
		}
		k.log.Write(append(buf[:n:n], '\n'))
		var p beat.ToKeeper
		if err := json.Unmarshal(buf[:n], &p); err != nil {
			panic(err)
		}
		if code, end := k.answer(&p, said); end {
			return code
		}
	}
}

// answer says what a keeper would, or what it should not.
func (k *fake) answer(p *beat.ToKeeper, said int) (code int, end bool) {
	if p.Leave && k.mode == "dies when told to leave" {
		return 4, true
	}
	if p.Leave && k.mode == "mute" {
		select {}
	}
	if p.Move == "lb2" {
		k.holds = false
	}
	if said == 2 {
		switch k.mode {
		case "freezes":
			syscall.Kill(os.Getpid(), syscall.SIGSTOP)
		case "mute":
			select {}
		case "garbage":
			k.socket.Write([]byte("{"))
		case "closes":
			k.socket.Close()
			select {}
		case "exits":
			return 5, true
		}
	}
	state := beat.Backup
	if k.holds {
		state = beat.Active
	}
	out := must(json.Marshal(beat.FromKeeper{
		Status: beat.Status{
			State: state, Holds: k.holds, Left: p.Leave, Counters: beat.Counters{AdvertsSent: uint64(said) + 1},
			Reason: strconv.Itoa(os.Getpid()),
		},
		Events: []beat.Event{{Kind: "state", Text: strconv.Itoa(said)}},
	}))
	k.socket.Write(out)
	return 0, p.Leave
}

// stage is a supervisor whose keepers are fakes.
type stage struct {
	*Supervisor
	t      *testing.T
	dir    string
	events chan beat.Event
}

// open has keepers whose silence is no reason to replace them: on a busy machine one
// that waits for a processor is silent too.
func open(t *testing.T, modes ...string) *stage {
	t.Helper()
	return openWith(t, beat.Config{Node: "lb1", Boot: "boot", Keys: [][]byte{[]byte("key")}}, modes...)
}

func openWith(t *testing.T, c beat.Config, modes ...string) *stage {
	t.Helper()
	st := prepare(t, c, modes...)
	st.startPatience, st.silence = limit, limit
	st.Start()
	return st
}

// openImpatient replaces silent ones, as a true supervisor does.
func openImpatient(t *testing.T, modes ...string) *stage {
	t.Helper()
	st := prepare(t, beat.Config{}, modes...)
	st.Start()
	return st
}

func prepare(t *testing.T, c beat.Config, modes ...string) *stage {
	t.Helper()
	st := &stage{t: t, dir: t.TempDir(), events: make(chan beat.Event, 1000)} // more than any test makes
	st.Supervisor = New(Options{
		Config:  c,
		Command: []string{"/proc/self/exe", asKeeper, strings.Join(modes, ","), st.dir},
		Fitness: func() beat.Fitness { return beat.Fitness{Healthy: 3} },
		Event:   func(e beat.Event) { st.events <- e },
		Log:     zap.NewNop(),
	})
	t.Cleanup(st.Close)
	return st
}

// limit is far above all that is waited for.
const limit = 30 * time.Second

// until waits for a state of things.
func (st *stage) until(what string, done func(Status) bool) Status {
	st.t.Helper()
	for end := time.Now().Add(limit); ; time.Sleep(5 * time.Millisecond) {
		s := st.Status()
		if done(s) {
			return s
		}
		if time.Now().After(end) {
			st.t.Fatalf("waiting for %s: %+v", what, s)
		}
	}
}

// heard waits until the keeper of a life that is not a broken one has spoken.
func (st *stage) heard(life uint64) Status {
	st.t.Helper()
	return st.until(fmt.Sprintf("keeper %d", life), func(s Status) bool {
		return s.Starts >= life && s.State != beat.Initialize
	})
}

// got gives what the keeper of a life was sent.
func (st *stage) got(life int) (packets []beat.ToKeeper, eof bool) {
	st.t.Helper()
	data, err := os.ReadFile(filepath.Join(st.dir, strconv.Itoa(life)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		st.t.Fatal(err)
	}
	lines := slices.Collect(strings.Lines(string(data)))
	for _, line := range lines {
		var p beat.ToKeeper
		switch {
		case line == "\"eof\"\n":
			eof = true
		case !strings.HasSuffix(line, "\n"): // it is being written
		case json.Unmarshal([]byte(line), &p) != nil:
			st.t.Fatalf("keeper %d was sent %q", life, line)
		default:
			packets = append(packets, p)
		}
	}
	return packets, eof
}

// alive reports whether a process is there.
func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }
