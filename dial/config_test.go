package dial

import (
	"context"
	"errors"
	"net"
	"os"
	"testing"
)

// A context that ends just as an operation succeeds must not leave a deadline
// behind that fails the next one.
func TestReleaseLeavesNoDeadline(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	release := interruptible(ctx, near)
	if _, err := near.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Read under an ended context = %v, want a time-out", err)
	}
	release()
	far.Close()
	if _, err := near.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Error("Read after release still times out")
	}
}
