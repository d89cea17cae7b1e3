package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"testing"
)

// A context that ends just as an operation succeeds must not leave a deadline
// behind that fails the next one.
func TestReleaseLeavesNoDeadline(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer far.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := interruptible(ctx, near)
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read under an ended context = %v, want a time-out", err)
	}
	release()
	wg.Go(func() { far.Write([]byte("x")) })
	if _, err := near.Read(make([]byte, 1)); err != nil {
		t.Errorf("Read after release = %v", err)
	}
}
