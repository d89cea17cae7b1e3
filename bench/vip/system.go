package vip

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"
)

// execute runs a command to its end.
func execute(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}

// sysctl writes a setting of the harness's network namespace.
func sysctl(name, value string) error {
	if err := os.WriteFile("/proc/sys/"+name, []byte(value), 0); err != nil {
		return fmt.Errorf("sysctl: %w", err)
	}
	return nil
}

// ErrUnable says why nothing can be run here.
var ErrUnable = errors.New("cannot run here")

// Check reports what this machine lacks, as an error that wraps ErrUnable.
func Check() error {
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: network namespaces need root", ErrUnable)
	}
	for _, name := range []string{"ip", "nsenter", "unshare", "nft"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("%w: %s is not installed (make deps installs it)", ErrUnable, name)
		}
	}
	// In a container root may lack the right.
	if out, err := exec.Command("unshare", "--net", "true").CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", ErrUnable, strings.TrimSpace(string(out)))
	}
	return nil
}

// pause waits for d, or for ctx to end, whose error it returns.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
