package supervise

import (
	"bufio"
	"context"
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

func TestFirstBeatCarriesTheConfig(t *testing.T) {
	t.Parallel()
	st := open(t, "good")
	st.until("three beats", func(s Status) bool { return s.Counters.AdvertsSent >= 3 })
	got, _ := st.got(1)
	if c := got[0].Config; c == nil || c.Node != "lb1" || string(c.Keys[0]) != "key" {
		t.Errorf("first beat has config %+v", c)
	}
	for i, p := range got {
		if p.Fitness == nil || p.Fitness.Healthy != 3 || (i > 0 && p.Config != nil) {
			t.Errorf("beat %d is %+v, want the fitness, and the config in the first one alone", i, p)
		}
	}
}

// A terminal's ^C goes to a process group.
func TestKeeperHasAProcessGroupOfItsOwn(t *testing.T) {
	t.Parallel()
	st := open(t, "good")
	pid := st.heard(1).PID
	if group, err := syscall.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group of keeper %d is %d, %v", pid, group, err)
	}
}

// It must not hold sockets of ours: a port, or the end of the pair that tells it
// that this process is gone.
func TestKeeperInheritsOneDescriptor(t *testing.T) {
	t.Parallel()
	st := open(t, "good", "good")
	first := st.heard(1).PID
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	pid := st.heard(2).PID
	fds, err := filepath.Glob("/proc/" + st.heard(2).Reason + "/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	sockets := 0
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && strings.HasPrefix(to, "socket:") {
			sockets++
		}
	}
	if sockets != 1 {
		t.Errorf("keeper %d has %d sockets, want its end of the pair alone: %v", pid, sockets, fds)
	}
}

func TestReplacedWhenItFails(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		mode, want string
		open       func(*testing.T, ...string) *stage
	}{
		{"crash", "it ended: exit status 3", open},
		{"exits", "it ended: exit status 5", open},
		{"freezes", "no beat for ", openImpatient},
		{"mute", "no beat for ", openImpatient},
		{"garbage", "it sent what is no beat", open},
		{"closes", "it closed its end of the socket", open},
	} {
		t.Run(tt.mode, func(t *testing.T) {
			t.Parallel()
			st := tt.open(t, tt.mode, "good")
			s := st.heard(2)
			if !strings.Contains(s.Trouble, tt.want) {
				t.Errorf("trouble is %q, want %q", s.Trouble, tt.want)
			}
			if got, _ := st.got(2); len(got) == 0 || got[0].Config == nil {
				t.Error("the second keeper has got no config")
			}
			told := false
			for !told {
				select {
				case e := <-st.events:
					told = e.Kind == "keeper" && e.Warn && strings.Contains(e.Text, tt.want)
				default:
					t.Fatal("nobody was told of it")
				}
			}
		})
	}
}

// A stopped process keeps its sockets and, without anybody to refresh it, the
// address: it has to be gone before another one begins.
func TestFrozenKeeperIsKilledBeforeTheNext(t *testing.T) {
	t.Parallel()
	st := openImpatient(t, "good", "good")
	first := st.heard(1).PID
	if err := syscall.Kill(first, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	st.heard(2)
	if alive(first) {
		t.Errorf("keeper %d still lives beside the next one", first)
	}
}

func TestCrashLoopIsSurvived(t *testing.T) {
	t.Parallel()
	st := open(t, "crash", "crash", "crash", "crash", "crash", "crash", "good")
	began := time.Now()
	st.heard(7)
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("six crashes and a start took %s: no pause between them", took)
	}
	if got := st.failures; got != 6 {
		t.Errorf("failures in a row: %d, want 6", got)
	}
}

func TestCountersAreThoseOfAllKeepers(t *testing.T) {
	t.Parallel()
	st := open(t, "exits", "exits", "good")
	// Each of the first two has answered two beats, and died of the third.
	s := st.until("the third", func(s Status) bool { return s.Starts == 3 && s.Counters.AdvertsSent > 4 })
	if got, _ := st.got(3); int(s.Counters.AdvertsSent) > 4+len(got) {
		t.Errorf("adverts sent: %d, want 4 and those of the third, at most %d", s.Counters.AdvertsSent, len(got))
	}
}

// With an arbiter the address stays, and the first keeper must not give it up.
func TestReplaceKeepsTheBoot(t *testing.T) {
	t.Parallel()
	for name, etcd := range map[string]*beat.Etcd{"etcd": {}, "no arbiter": nil} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			st := openWith(t, beat.Config{Boot: "boot", Etcd: etcd}, "good", "good")
			first := st.heard(1).PID
			st.Replace(beat.Config{Boot: "boot", Etcd: etcd, VIP: beat.VIP{Priority: 7}})
			st.heard(2)
			got, _ := st.got(2)
			if c := got[0].Config; c == nil || c.Boot != "boot" || c.VIP.Priority != 7 {
				t.Errorf("the second keeper has got config %+v", c)
			}
			if alive(first) {
				t.Error("the first keeper lives")
			}
			if _, eof := st.got(1); eof != (etcd == nil) {
				t.Errorf("the first keeper was told to give the address up: %t", eof)
			}
		})
	}
}

// Alone in the network, a keeper that took its place would else have nobody own the address
// for as long as after a boot.
func TestStartupDelayIsThatOfTheFirstKeeper(t *testing.T) {
	t.Parallel()
	const delay = time.Hour
	st := openWith(t, beat.Config{VIP: beat.VIP{StartupDelay: delay}}, "crash", "exits", "good")
	st.heard(3)
	first, _ := st.got(2)
	second, _ := st.got(3)
	a, b := first[0].Config.VIP.StartupDelay, second[0].Config.VIP.StartupDelay
	if a >= delay || b >= a || b <= 0 {
		t.Errorf("the second and third keeper wait for %s and %s, want less and less of %s", a, b, delay)
	}
}

func TestLeaveWaitsForTheKeeper(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"good", "dies when told to leave"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			st := open(t, mode, "good")
			st.heard(1)
			ctx, cancel := context.WithTimeout(t.Context(), limit)
			defer cancel()
			if err := st.Leave(ctx); err != nil {
				t.Fatal(err)
			}
			st.Close()
			if s := st.Status(); s.PID != 0 || s.State != beat.Initialize {
				t.Errorf("after the end: %+v", s)
			}
			if _, err := os.Stat(filepath.Join(st.dir, "life3")); err == nil {
				t.Error("a keeper was started after one had left")
			}
		})
	}
}

func TestLeaveIsBounded(t *testing.T) {
	t.Parallel()
	st := open(t, "mute") // it will never say that it has left
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := st.Leave(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Leave = %v, want the end of its time", err)
	}
}

// The end of the socket is what a keeper gives the address up by.
func TestCloseLetsTheKeeperGiveUp(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"good", "deaf"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			st := open(t, mode)
			pid := st.heard(1).PID
			st.Close()
			if _, eof := st.got(1); !eof {
				t.Error("the keeper has not seen the end")
			}
			if alive(pid) {
				t.Errorf("keeper %d still lives", pid)
			}
		})
	}
}

func TestMoveStandsUntilTheAddressHasMoved(t *testing.T) {
	t.Parallel()
	st := open(t, "holds")
	st.until("the address", func(s Status) bool { return s.Holds })
	st.Move("lb3") // the fake goes to lb2 alone
	n := st.Status().Counters.AdvertsSent
	s := st.until("more beats", func(s Status) bool { return s.Counters.AdvertsSent > n+3 })
	got, _ := st.got(1)
	if last := got[len(got)-1]; !s.Holds || last.Move != "lb3" {
		t.Errorf("holds %t, and the last beat asks for a move to %q, want lb3 still", s.Holds, last.Move)
	}
	st.Move("lb2")
	st.until("the move", func(s Status) bool { return !s.Holds })
	n = st.Status().Counters.AdvertsSent
	st.until("more beats", func(s Status) bool { return s.Counters.AdvertsSent > n+1 })
	got, _ = st.got(1)
	if last := got[len(got)-1]; last.Move != "" {
		t.Errorf("after the move a beat asks for one to %q", last.Move)
	}
}

func TestMoveIsTakenBackOnce(t *testing.T) {
	t.Parallel()
	st := open(t, "holds")
	st.heard(1)
	st.Move("-")
	n := st.Status().Counters.AdvertsSent
	st.until("more beats", func(s Status) bool { return s.Counters.AdvertsSent > n+3 })
	said := 0
	got, _ := st.got(1)
	for _, p := range got {
		if p.Move == "-" {
			said++
		}
	}
	if said != 1 {
		t.Errorf("taken back %d times, want once", said)
	}
}

func TestLongListsOfFlowsArriveWhole(t *testing.T) {
	t.Parallel()
	st := open(t, "good")
	st.heard(1)
	const many = 3*flowsPerPacket + 1
	flows := make([]beat.Flow, many)
	for i := range flows {
		ip := netip.MustParseAddr("2001:db8:1111:2222:3333:4444:5555:6666")
		flows[i] = beat.Flow{Client: netip.AddrPortFrom(ip, uint16(10000+i)), VIP: netip.AddrPortFrom(ip, 5000)}
	}
	st.Tickle(flows)
	st.until("all flows", func(Status) bool {
		got, _ := st.got(1)
		var all []beat.Flow
		for _, p := range got {
			all = append(all, p.Tickle...)
		}
		return len(all) == many && all[many-1] == flows[many-1]
	})
}

// A process that was stopped for longer than a keeper waits finds one that has
// given up.
func TestOwnPauseBringsANewKeeper(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cmd := exec.Command("/proc/self/exe", asMain, "good", dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	lines := bufio.NewScanner(out)
	if !lines.Scan() { // the keeper's first word
		t.Fatal("the keeper says nothing")
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	time.Sleep(beat.Silence + 100*time.Millisecond) // the pause itself
	if err := cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if strings.Contains(lines.Text(), "this process has paused for ") {
			return
		}
	}
	t.Error("no new keeper after a pause")
}
