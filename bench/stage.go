package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"github.com/pgvip/pgvip/bench/load"
	"github.com/pgvip/pgvip/bench/null"
	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/bench/rival"
	"github.com/pgvip/pgvip/internal/lab"
)

// scale is pgbench's: a million rows, 150 MB, all in shared_buffers.
const scale = 10

// Stage is what the contenders share: a PostgreSQL with pgbench's tables, the
// null backend as a process of its own, and a directory. Close clears it.
type Stage struct {
	Launcher *proc.Launcher
	Dir      string
	Account  load.Account
	Postgres *lab.Postgres
	Null     *proc.Process
	NullAddr string

	systemID string
	uid, gid uint32
}

// NewStage starts the backends. nullCommand runs a null backend: it listens on
// 127.0.0.1, writes "listening ADDRESS" and serves until it is killed.
func NewStage(ctx context.Context, nullCommand []string) (*Stage, error) {
	dir, err := os.MkdirTemp("", "pgvip-bench-")
	if err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	// Programs inherit the limit. What it is too small for says so itself.
	_ = load.RaiseFileLimit(3 * IdleClients)
	s := &Stage{
		Launcher: proc.NewLauncher(), Dir: dir,
		Account: load.Account{User: lab.TrustUser, Database: lab.AppDatabase},
	}
	err = errors.Join(os.Chmod(dir, 0o755), s.unprivileged())
	if err == nil {
		err = s.startPostgres(ctx)
	}
	if err == nil {
		err = s.startNull(ctx, nullCommand)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("stage: %w", err), s.Close())
	}
	return s, nil
}

// unprivileged finds who runs what refuses root: PgBouncer.
func (s *Stage) unprivileged() error {
	if os.Geteuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	s.uid, s.gid = uint32(uid), uint32(gid)
	return errors.Join(err1, err2)
}

// startPostgres starts PostgreSQL and fills pgbench's tables. Autovacuum would
// come in the middle of a block; nothing here is updated.
func (s *Stage) startPostgres(ctx context.Context) error {
	pg, err := lab.StartPostgres(ctx, lab.PostgresOptions{
		// Connections of all contenders' pools stay open side by side.
		Parameters: map[string]string{"shared_buffers": "256MB", "max_connections": "300", "autovacuum": "off"},
		HBA:        []string{"host all all 127.0.0.0/8 trust"},
	})
	if err != nil {
		return err
	}
	s.Postgres = pg
	s.systemID, err = pg.SQL(ctx, "postgres", "SELECT system_identifier FROM pg_control_system()")
	if err != nil {
		return err
	}
	if err := (load.Pgbench{Addr: pg.Addr, Account: s.Account}).Init(ctx, scale); err != nil {
		return err
	}
	_, err = pg.SQL(ctx, s.Account.Database, "CHECKPOINT") // not in the middle of a block
	return err
}

// startNull starts the null backend and learns its address from what it writes.
func (s *Stage) startNull(ctx context.Context, command []string) (err error) {
	log := filepath.Join(s.Dir, "null.log")
	s.Null, err = s.Launcher.Start(ctx, proc.Spec{
		Name: "null", Dir: s.Dir, Args: command,
		Ready: func(ctx context.Context) error {
			text, err := os.ReadFile(log)
			if err != nil {
				return err
			}
			if _, err := fmt.Sscanf(string(text), "listening %s", &s.NullAddr); err != nil {
				return fmt.Errorf("null backend: %w", err)
			}
			return load.Ping(ctx, s.NullAddr, s.Account)
		},
	})
	return err
}

// Terms are the contenders' terms before one of the two backends.
func (s *Stage) Terms(mode string, beforeNull bool) (rival.Terms, error) {
	dir, err := os.MkdirTemp(s.Dir, "terms-")
	if err != nil {
		return rival.Terms{}, fmt.Errorf("stage: %w", err)
	}
	t := rival.Terms{
		Launcher: s.Launcher, Dir: dir, Account: s.Account,
		Backend: s.Postgres.Addr, SystemID: s.systemID,
		Mode: mode, PoolSize: PoolSize, UID: s.uid, GID: s.gid,
	}
	if beforeNull {
		t.Backend, t.SystemID = s.NullAddr, null.SystemID
	}
	return t, os.Chmod(dir, 0o755)
}

// Close ends the backends and removes the directory.
func (s *Stage) Close() error {
	var errs []error
	if s.Null != nil {
		errs = append(errs, s.Null.Close())
	}
	if s.Postgres != nil {
		errs = append(errs, s.Postgres.Stop())
	}
	s.Launcher.Close()
	return errors.Join(append(errs, os.RemoveAll(s.Dir))...)
}
