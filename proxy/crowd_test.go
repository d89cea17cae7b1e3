package proxy

import (
	"net"
	"testing"
	"time"
)

// TestSilentCrowdKeepsNobodyOut: when the house is full of clients that do not
// log in, the first of them has to go for one that does.
func TestSilentCrowdKeepsNobodyOut(t *testing.T) {
	c := crowd{tokens: make(chan struct{}, 2)}
	done := make(chan struct{})
	defer close(done)
	gone := make(chan int, 2)
	for i := range 2 {
		if !c.place(done) {
			t.Fatal("no place in an empty house")
		}
		near, far := net.Pipe()
		defer far.Close()
		leave := c.enter(func() { near.Close() })
		go func() { // a login that waits for its client
			near.Read(make([]byte, 1))
			gone <- i
			leave()
			leave() // the second does nothing
		}()
	}
	began := time.Now()
	if !c.place(done) {
		t.Fatal("no place was made")
	}
	if took := time.Since(began); took < patientFor-crowdPause {
		t.Errorf("a client had to go after %v", took)
	}
	if first := <-gone; first != 0 {
		t.Errorf("client %d had to go, want the first", first)
	}
	select {
	case <-gone:
		t.Error("both had to go")
	default:
	}
	c.giveBack()
}

func TestPlaceEndsWithTheProxy(t *testing.T) {
	c := crowd{tokens: make(chan struct{})}
	done := make(chan struct{})
	close(done)
	if c.place(done) {
		t.Error("a place in a house without any")
	}
}
