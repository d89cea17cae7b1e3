package loop

import (
	"runtime"
	"testing"
	"time"
)

// TestNapYields: a loop that naps in the kernel gives the garbage collector, which
// stops the world, its processor at once, and what is posted its turn.
func TestNapYields(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	go l.Run()
	defer l.Close()
	const rounds = 30
	began := time.Now()
	for range rounds {
		done := make(chan struct{})
		l.Post(func() { close(done) })
		<-done
		runtime.GC() // the loop has just begun to nap
	}
	if took := time.Since(began); took > rounds*napFor/2 {
		t.Errorf("%d collections took %v: they waited for the naps to end", rounds, took)
	}
}
