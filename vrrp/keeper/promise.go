package keeper

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// promise is where this node's longest promise to a peer stands, for a keeper that
// starts within it: of the same boot of the machine, since times are counted from
// there. The file need not outlive the machine, so it is not synced.
type promise struct {
	file string
}

// unknownPromise is what may have been promised by a keeper that could not write
// it down: the longest that the owner machine makes, and its margin.
const unknownPromise = 2600 * time.Millisecond

// promiseOf names the file: systemd's RuntimeDirectory, or /run/pgvip.
func promiseOf(cfg *beat.Config) promise {
	dir := os.Getenv("RUNTIME_DIRECTORY")
	if dir == "" {
		dir = "/run/pgvip"
	}
	dir, _, _ = strings.Cut(dir, ":")
	// Names may hold what a file's name must not.
	h := fnv.New64a()
	fmt.Fprintf(h, "%q %q %q", cfg.Cluster, cfg.Node, cfg.VIP.Addresses[0].Addr())
	return promise{filepath.Join(dir, fmt.Sprintf("promise-%016x", h.Sum64()))}
}

// load gives what an earlier keeper has promised: until when, and the term. What
// cannot be known at the time now may be the longest there is.
func (p promise) load(now time.Duration) (time.Duration, int64) {
	text, err := os.ReadFile(p.file)
	if errors.Is(err, fs.ErrNotExist) && os.MkdirAll(filepath.Dir(p.file), 0o755) == nil && p.writable() {
		return 0, 0 // there would be a file
	}
	current, unknown := bootID()
	var boot string
	var until, term int64
	if err == nil {
		_, err = fmt.Sscanf(string(text), "%s %d %d", &boot, &until, &term)
	}
	switch {
	case errors.Join(err, unknown) != nil:
		return now + unknownPromise, 0
	case boot != current:
		return 0, 0
	}
	return time.Duration(until), term
}

// writable reports whether a promise could be stored.
func (p promise) writable() bool {
	probe, err := os.CreateTemp(filepath.Dir(p.file), "promise-")
	if err != nil {
		return false
	}
	return errors.Join(probe.Close(), os.Remove(probe.Name())) == nil
}

// store writes a promise down before it is given.
func (p promise) store(until time.Duration, term int64) error {
	boot, err := bootID()
	fresh := p.file + ".new"
	if err == nil {
		err = os.WriteFile(fresh, fmt.Appendf(nil, "%s %d %d\n", boot, until, term), 0o600)
	}
	if err == nil {
		err = os.Rename(fresh, p.file)
	}
	if err != nil {
		return fmt.Errorf("store a promise: %w", err)
	}
	return nil
}

// bootID names this boot of the machine.
func bootID() (string, error) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(id)), err
}
