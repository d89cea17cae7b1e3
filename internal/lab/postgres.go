package lab

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pgvip/pgvip/internal/certs"
)

const postgresPort = 5432

// Postgres is one PostgreSQL server: the lone one of StartPostgres, or a node's.
// As a Process it can be killed, frozen and, when it is alone, restarted.
type Postgres struct {
	*Process

	// Addr is where it listens, "127.64.0.1:5432"; Host is its first part.
	Addr, Host string
	// DataDir is its data directory. It goes with the lab.
	DataDir string
	// SocketDir is where its Unix socket is.
	SocketDir string
	// CAFile is the certificate authority of a lone server with TLS. Nodes have
	// theirs in Cluster.
	CAFile string
	// Authority is the one in CAFile, which clients' certificates may be from too.
	Authority *certs.Authority

	slot *slot
}

// PostgresOptions say how a lone server differs from the lab's usual one.
type PostgresOptions struct {
	// Parameters are added to postgresql.conf.
	Parameters map[string]string
	// HBA lines come before the lab's own in pg_hba.conf.
	HBA []string
	// TLS makes the server offer TLS, with a certificate for its address from
	// the authority in CAFile.
	TLS bool
	// Version is the major version, 15 or 18; 0 means 15.
	Version int
}

// check reports what such a server needs and what is not there.
func (o PostgresOptions) check() error {
	if o.Version != 0 && binDirs[o.Version] == "" {
		return fmt.Errorf("lab: there is no PostgreSQL %d", o.Version)
	}
	// Clients are those of 15, whatever the server.
	if err := checkPostgres(); err != nil || o.Version == 0 {
		return err
	}
	return checkPrograms(o.Version, "postgres", "initdb", "pg_ctl")
}

// StartPostgres starts a PostgreSQL of its own slot, without Patroni and etcd,
// and waits until it accepts connections. The caller calls Stop.
func StartPostgres(ctx context.Context, opt PostgresOptions) (*Postgres, error) {
	if err := opt.check(); err != nil {
		return nil, err
	}
	s, err := takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	s.version = cmp.Or(opt.Version, s.version)
	pg := s.postgres("postgres", 1)
	pg.find = nil // our own child
	pg.command = func() *exec.Cmd {
		return s.command(filepath.Join(binDirs[s.version], "postgres"), "-D", pg.DataDir)
	}
	if err := pg.prepare(ctx, opt); err != nil {
		return nil, errors.Join(err, s.release())
	}
	if err := pg.Start(ctx); err != nil {
		return nil, errors.Join(err, pg.Stop())
	}
	return pg, nil
}

// postgres describes the server of node n.
func (s *slot) postgres(name string, n int) *Postgres {
	pg := &Postgres{
		Host:      s.host(n),
		Addr:      net.JoinHostPort(s.host(n), strconv.Itoa(postgresPort)),
		DataDir:   filepath.Join(s.dir, name+"-data"),
		SocketDir: filepath.Join(s.dir, name+"-run"),
		slot:      s,
	}
	pg.Process = &Process{
		Name:    name,
		logPath: filepath.Join(s.dir, name+".log"),
		find:    pg.postmaster,
		ready:   pg.accepts,
	}
	return pg
}

// prepare makes the data directory and its configuration.
func (pg *Postgres) prepare(ctx context.Context, opt PostgresOptions) error {
	if err := pg.slot.account.mkdir(pg.SocketDir); err != nil {
		return err
	}
	if err := pg.slot.copyTemplate(ctx, pg.DataDir); err != nil {
		return err
	}
	parameters := baseParameters(opt.Parameters)
	if opt.TLS {
		authority, ca, more, err := pg.slot.enableTLS()
		if err != nil {
			return err
		}
		pg.CAFile, pg.Authority = ca, authority
		maps.Copy(parameters, more)
	}
	parameters["listen_addresses"] = pg.Host
	parameters["unix_socket_directories"] = pg.SocketDir
	var conf strings.Builder
	for _, name := range slices.Sorted(maps.Keys(parameters)) {
		fmt.Fprintf(&conf, "%s = %s\n", name, quoteConf(parameters[name]))
	}
	hba := strings.Join(hbaLines(opt.HBA), "\n") + "\n"
	return errors.Join(
		pg.slot.account.write(filepath.Join(pg.DataDir, "postgresql.conf"), conf.String()),
		pg.slot.account.write(filepath.Join(pg.DataDir, "pg_hba.conf"), hba),
	)
}

// Stop kills a lone server at once and removes all that it had. A node's server
// is stopped by its cluster.
func (pg *Postgres) Stop() error {
	err := pg.slot.release()
	pg.reaped()
	return err
}

// lockFile reads postmaster.pid, a line for each fact; see PostgreSQL's source,
// src/include/utils/pidfile.h.
func (pg *Postgres) lockFile() ([]string, error) {
	text, err := os.ReadFile(filepath.Join(pg.DataDir, "postmaster.pid"))
	return strings.Split(string(text), "\n"), err
}

// postmaster is the process id of the server, 0 when it does not run. A killed
// server leaves its lock file, so the process has to be one of ours too.
func (pg *Postgres) postmaster() int {
	lines, err := pg.lockFile()
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(lines[0])
	if err != nil || !living(pid) || !worksIn(pid, pg.slot.dir) {
		return 0
	}
	return pid
}

// accepts returns nil when the server accepts connections, as pg_ctl sees it.
func (pg *Postgres) accepts(context.Context) error {
	const statusLine = 7 // LOCK_FILE_LINE_PM_STATUS, counted from 0
	lines, err := pg.lockFile()
	if err != nil {
		return err
	}
	if len(lines) <= statusLine || strings.TrimSpace(lines[statusLine]) != "ready" {
		return errors.New("does not accept connections yet")
	}
	if pg.postmaster() == 0 {
		return errNotRunning
	}
	return nil
}

// SQL runs statements as the superuser and returns what psql prints unaligned:
// a row a line, its columns separated by "|".
func (pg *Postgres) SQL(ctx context.Context, database, sql string) (string, error) {
	cmd := pg.slot.commandContext(ctx, filepath.Join(pgBin, "psql"), "-X", "-A", "-t", "-q",
		"-v", "ON_ERROR_STOP=1", "-h", pg.Host, "-U", Superuser, "-d", database, "-c", sql)
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: psql: %w: %s", pg.Name, err, strings.TrimSpace(stderr.String()))
	}
	return strings.TrimRight(stdout.String(), "\n"), nil
}

// Verifier returns a role's stored password: "SCRAM-SHA-256$4096:..." or
// "md5...", as a user list file wants it.
func (pg *Postgres) Verifier(ctx context.Context, role string) (string, error) {
	quoted := "'" + strings.ReplaceAll(role, "'", "''") + "'"
	verifier, err := pg.SQL(ctx, "postgres", "SELECT rolpassword FROM pg_authid WHERE rolname = "+quoted)
	if err == nil && verifier == "" {
		err = fmt.Errorf("%s: role %s has no password", pg.Name, role)
	}
	return verifier, err
}
