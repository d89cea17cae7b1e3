package loop

import (
	"context"
	"errors"
	"testing"
)

func TestCollectVisitsEverythingOnItsLoop(t *testing.T) {
	loops := []*Loop{running(t), running(t)}
	var items []int
	for i := range 1000 {
		items = append(items, i)
	}
	turns := make([]int, 2)
	count := func(i int) { // counts the turns of loop i while visits go on
		loops[i].Post(func() { turns[i]++ })
	}
	got, err := Collect(t.Context(), items, func(i int) *Loop { return loops[i%2] }, func(i int, all []int) []int {
		if i%100 < 2 {
			count(i % 2)
		}
		return append(all, i)
	})
	if err != nil || len(got) != 1000 {
		t.Fatalf("%d items, %v; want 1000", len(got), err)
	}
	seen := map[int]bool{}
	for _, i := range got {
		seen[i] = true
	}
	if len(seen) != 1000 {
		t.Errorf("%d different items, want 1000", len(seen))
	}
	for i, l := range loops {
		done := make(chan int)
		l.Post(func() { done <- turns[i] })
		if n := <-done; n < 5 {
			t.Errorf("loop %d did other work %d times meanwhile, want at least 5", i, n)
		}
	}
}

func TestCollectGivesUpWithItsContext(t *testing.T) {
	l := running(t)
	block := make(chan struct{})
	l.Post(func() { <-block })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Collect(ctx, []int{1}, func(int) *Loop { return l }, func(i int, all []int) []int { return append(all, i) }); !errors.Is(err, context.Canceled) {
		t.Errorf("a loop that does not answer: %v, want canceled", err)
	}
	close(block)
}

func TestCollectFromClosedLoops(t *testing.T) {
	l := running(t)
	l.Close()
	got, err := Collect(t.Context(), []int{1}, func(int) *Loop { return l }, func(i int, all []int) []int { return append(all, i) })
	if err != nil || len(got) != 0 {
		t.Errorf("%v, %v; want nothing", got, err)
	}
}
