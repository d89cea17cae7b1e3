package lab

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// initdbArgs makes a data directory quickly. Small WAL segments: 1 MB instead
// of 16 MB to write and to copy for each server.
var initdbArgs = []string{
	"--no-sync", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=trust",
	"--username=" + Superuser, "--wal-segsize=1", "--data-checksums",
}

// template returns a data directory that has the lab's roles, to be copied. It
// is made once per machine, user and form; all copies share its system
// identifier.
func (s *slot) template(ctx context.Context) (string, error) {
	version, err := exec.Command(filepath.Join(binDirs[s.version], "postgres"), "--version").Output()
	if err != nil {
		return "", fmt.Errorf("lab: version of PostgreSQL: %w", err)
	}
	form := sha256.Sum256(fmt.Appendf(nil, "%s\n%q\n%s\n%d", version, initdbArgs, rolesSQL, s.account.uid))
	dir := filepath.Join(root, fmt.Sprintf("template-%x", form[:6]))

	lock, err := openLock(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return "", fmt.Errorf("lab: template: %w", err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return dir, err
	}
	made := filepath.Join(s.dir, "template")
	if err := s.makeTemplate(ctx, made); err != nil {
		return "", fmt.Errorf("lab: template: %w", err)
	}
	// Renamed when it is whole: a template that is there can be used.
	return dir, os.Rename(made, dir)
}

// makeTemplate runs initdb, and a server on a socket alone to make the roles.
func (s *slot) makeTemplate(ctx context.Context, dir string) error {
	if err := s.run(ctx, "", "initdb", append([]string{"-D", dir}, initdbArgs...)...); err != nil {
		return err
	}
	return errors.Join(
		s.run(ctx, "", "pg_ctl", "start", "-w", "-D", dir, "-l", dir+".log",
			"-o", "-F -c listen_addresses= -k "+s.dir),
		s.run(ctx, rolesSQL, "psql", "-X", "-q", "-h", s.dir, "-U", Superuser, "-d", "postgres"),
		s.run(ctx, "", "pg_ctl", "stop", "-w", "-D", dir, "-m", "fast"),
	)
}

// run runs a PostgreSQL program to its end, with the given standard input.
func (s *slot) run(ctx context.Context, input, name string, args ...string) error {
	dir := binDirs[s.version]
	if name == "psql" {
		dir = pgBin // PostgreSQL 18 comes without clients
	}
	cmd := s.commandContext(ctx, filepath.Join(dir, name), args...)
	cmd.Stdin = strings.NewReader(input)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

// copyTemplate makes dir a copy of the template.
func (s *slot) copyTemplate(ctx context.Context, dir string) error {
	from, err := s.template(ctx)
	if err != nil {
		return err
	}
	cmd := s.commandContext(ctx, "/bin/cp", "-a", "--reflink=auto", from, dir)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: copy %s: %w: %s", from, err, out)
	}
	return nil
}
