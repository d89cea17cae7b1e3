package loop

import (
	"errors"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Every function that Post took runs once and in the order of its poster, while
// the loop falls asleep again and again. A lost wake-up stops this test.
func TestNoWakeUpIsLost(t *testing.T) {
	for _, posters := range []int{1, 8} {
		l := running(t)
		var ran atomic.Int64
		var wg sync.WaitGroup
		rounds := 20000 / posters
		for range posters {
			wg.Go(func() { postInOrder(t, l, rounds, &ran) })
		}
		wg.Wait()
		if got := int(ran.Load()); got != posters*rounds {
			t.Errorf("%d functions ran, want %d", got, posters*rounds)
		}
	}
}

// postInOrder posts functions, most of them some nanoseconds after the one
// before has run, when the loop is about to fall asleep.
func postInOrder(t *testing.T, l *Loop, rounds int, ran *atomic.Int64) {
	last := -1
	for i := range rounds {
		done := make(chan struct{})
		err := l.Post(func() {
			if last != i-1 {
				t.Errorf("function %d ran after %d", i, last)
			}
			last = i
			ran.Add(1)
			close(done)
		})
		if err != nil {
			t.Error(err)
			return
		}
		if i%4 > 0 || i == rounds-1 {
			<-done // else the next one is posted at once
		}
		for range i % 400 {
			ran.Load() // moves the next Post on by a nanosecond or two
		}
		if i%5000 == 0 {
			runtime.GC() // stops the loop, however it sleeps
		}
	}
}

// Had the loop looked at its inbox before it said that it sleeps, a function
// posted in between would wake nobody. That is too short a time to be hit, so
// the loop is held where it looks.
func TestLoopSaysItSleepsBeforeItLooks(t *testing.T) {
	l := newLoop(t)
	l.mu.Lock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.turn()
	}()
	for start := time.Now(); !l.asleep.Load(); runtime.Gosched() {
		if time.Since(start) > time.Second {
			t.Error("the loop looks at its inbox and does not say that it sleeps")
			break
		}
	}
	l.mu.Unlock()
	_ = l.Post(func() {})
	wait(t, done, "the turn")
}

// Functions that post themselves again leave sockets and timers their turn.
func TestPostingForEverStarvesNobody(t *testing.T) {
	l, r := newLoop(t), &recorder{}
	c, p := add(t, l, unixPair, r)
	var again func()
	again = func() {
		if !l.stopping {
			_ = l.Post(again)
		}
	}
	again()
	rang := false
	l.After(0, func() { rang = true })
	p.send("x")
	for range 3 {
		l.turn()
	}
	if string(r.got) != "x" || !rang {
		t.Errorf("in three turns the socket brought %q, the timer rang: %t", r.got, rang)
	}
	c.Close()
}

// An idle loop is not woken at all: no ticking.
func TestIdleLoopSleeps(t *testing.T) {
	t.Parallel()
	l := newLoop(t)
	var turns atomic.Int64
	done := make(chan struct{})
	var conns [10]*Conn
	for i := range conns {
		conns[i], _ = add(t, l, tcpPair, &recorder{})
	}
	l.After(time.Hour, func() {})
	go func() {
		defer close(done)
		for !l.stopping {
			l.turn()
			turns.Add(1)
		}
	}()
	on(t, l, func() {})
	<-time.After(50 * time.Millisecond) // the last of a hot loop's short sleeps
	before := turns.Load()
	<-time.After(time.Second)
	if got := turns.Load() - before; got != 0 {
		t.Errorf("%d turns in a second with nothing to do, want none", got)
	}
	on(t, l, func() { l.stopping = true })
	wait(t, done, "the last turn")
}

// Close runs what was accepted, closes every socket and says nothing to the
// handlers; afterwards Post refuses.
func TestCloseWithConnectionsOpen(t *testing.T) {
	l := running(t)
	var rs [20]recorder
	var peers []peer
	on(t, l, func() {
		for i := range rs {
			_, p := add(t, l, kinds[i%2].pair, &rs[i])
			peers = append(peers, p)
		}
	})
	if got := l.Clients(); got != len(rs) {
		t.Errorf("%d clients, want %d", got, len(rs))
	}
	l.Close()
	for i, p := range peers {
		p.expectEnd()
		if r := &rs[i]; r.calls+r.drained+r.eofs > 0 || r.err != nil {
			t.Errorf("handler %d heard something: %+v", i, r)
		}
	}
	if got := l.Clients(); got != 0 {
		t.Errorf("%d clients after Close, want none", got)
	}
	if err := l.Post(func() { t.Error("ran after Close") }); !errors.Is(err, ErrClosed) {
		t.Errorf("Post after Close: %v, want ErrClosed", err)
	}
	l.Close() // again does no harm
}

// What Post has taken runs, even if Close comes at the same time: it may own a
// socket or a goroutine may wait for it.
func TestEveryAcceptedFunctionRuns(t *testing.T) {
	for range 200 {
		l, err := New()
		if err != nil {
			t.Fatal(err)
		}
		go l.Run()
		var accepted, ran atomic.Int64
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				for l.Post(func() { ran.Add(1) }) == nil {
					accepted.Add(1)
				}
			})
		}
		l.Close()
		wg.Wait()
		if ran.Load() != accepted.Load() {
			t.Fatalf("%d functions ran, %d were accepted", ran.Load(), accepted.Load())
		}
	}
}

// A loop that never ran can be closed, and its Run then returns at once.
func TestCloseWithoutRun(t *testing.T) {
	before := descriptors()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ran := false
	_ = l.Post(func() { ran = true })
	closed := make(chan struct{})
	go func() {
		l.Close()
		l.Run()
		close(closed)
	}()
	wait(t, closed, "Close without Run")
	if !ran {
		t.Error("what was posted before did not run")
	}
	if after := descriptors(); after > before {
		t.Errorf("%d descriptors are open, %d were before", after, before)
	}
}

// What a finished connection still has to say is said before the loop goes.
func TestCloseWaitsForFinishedConnections(t *testing.T) {
	l := running(t)
	var p peer
	sent := 0
	on(t, l, func() {
		var c *Conn
		c, p = add(t, l, tcpPair, &recorder{})
		sent = fill(c)
		c.Finish()
	})
	p.send("unread, which would turn a close into a reset")
	closed := make(chan struct{})
	go func() {
		l.Close()
		close(closed)
	}()
	for l.Post(func() {}) == nil { // until the loop is on its way out
		runtime.Gosched()
	}
	if n, err := io.Copy(io.Discard, p); err != nil || n != int64(sent) {
		t.Errorf("peer read %d bytes, %v, want %d", n, err, sent)
	}
	p.hangUp()
	wait(t, closed, "Close")
}

// A peer that does not close holds the end of a loop up for a second.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	l := running(t)
	on(t, l, func() {
		c, _ := add(t, l, tcpPair, &recorder{})
		c.Finish()
	})
	closed := make(chan struct{})
	go func() {
		l.Close()
		close(closed)
	}()
	wait(t, closed, "Close")
}

// A Post that has taken its function and then loses the processor must not, when
// it goes on, wake what has got the descriptor's number meanwhile.
func TestLateWakeUpHitsNobodyElse(t *testing.T) {
	fd, p := unixPair(t)
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	number := l.poll.wakefd
	l.Close()
	if err := unix.Dup3(fd, number, unix.O_CLOEXEC); err != nil {
		t.Fatal(err)
	}
	l.wake()
	unix.Close(number)
	unix.Close(fd)
	p.expectEnd()
}

// The socket stays the caller's when it cannot be added.
func TestAddRefuses(t *testing.T) {
	l := newLoop(t)
	file, err := unix.Open("/proc/self/stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(file)
	var c Conn
	if err := l.Add(&c, file, ClassClient, &recorder{}, nil); !errors.Is(err, syscall.EPERM) {
		t.Errorf("Add of a file: %v, want EPERM", err)
	}
	if !c.Closed() {
		t.Error("the connection that was refused is open")
	}
	over(t, l)
	if _, err := unix.FcntlInt(uintptr(file), unix.F_GETFD, 0); err != nil {
		t.Errorf("the descriptor after Add: %v, want it open", err)
	}
	if err := l.Add(&c, file, ClassClient, &recorder{}, make([]byte, keepMax+1)); err == nil {
		t.Error("Add took more bytes than can be kept")
	}
	fd, p := unixPair(t)
	if err := l.Add(&c, fd, ClassClient, &recorder{}, nil); err != nil {
		t.Errorf("Add after a refusal: %v", err)
	}
	c.Close()
	p.expectEnd()
}
