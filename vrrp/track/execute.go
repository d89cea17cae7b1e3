package track

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"time"
)

// execute runs a script once. A nil error means exit code 0 in time.
func execute(ctx context.Context, s Script) error {
	limit, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	cmd := exec.CommandContext(limit, s.Command[0], s.Command[1:]...)
	cmd.Dir, cmd.Env = "/", s.Env
	cmd.WaitDelay = time.Second // whoever cannot be killed is not waited for
	confine(cmd)

	// A thread of its own: what it gives up must not be missing elsewhere, and the
	// runtime ends a thread whose goroutine ends while it is locked to it.
	done := make(chan error) // closed by nobody; one value
	go func() { done <- runConfined(cmd) }()
	err := <-done
	switch {
	case err == nil:
		return nil
	case errors.Is(limit.Err(), context.DeadlineExceeded):
		return fmt.Errorf("killed after %s", s.Timeout)
	}
	return err
}
