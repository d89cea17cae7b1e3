package failover

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pgvip/pgvip/bench/proc"
	"github.com/pgvip/pgvip/internal/lab"
)

// Options say what to run.
type Options struct {
	Binary string   // path of pgvip
	Modes  []string // of pgvip: Session, Transaction
	Rival  bool     // HAProxy too
	Keep   string   // folder for the logs of all parts, empty to throw them away
	Log    io.Writer
}

// Rig is a lab with the fronts before it. It is used by one goroutine.
type Rig struct {
	opt      Options
	binary   string
	dir      string // of the lab: configuration and logs
	log      io.Writer
	launcher *proc.Launcher
	lab      *lab.Cluster
	links    []*lab.Link // pgvip's ways to etcd
	prober   *prober
	watcher  *watcher
	fronts   []*front
}

const (
	startTimeout = 3 * time.Minute

	// ledgerSQL makes the tables of the checkers. There is no key in the ledger: a
	// write that is applied twice has to be there twice.
	ledgerSQL = `CREATE TABLE failover_ledger (front text, id bigint);
CREATE INDEX ON failover_ledger (front, id);
CREATE TABLE failover_floor (node text PRIMARY KEY, writes bigint) WITH (fillfactor = 10);
INSERT INTO failover_floor VALUES ('n1', 0), ('n2', 0), ('n3', 0);
GRANT ALL ON failover_ledger TO app, app_trust;`
)

// NewRig starts everything. The caller calls Close.
func NewRig(ctx context.Context, opt Options) (*Rig, error) {
	r := &Rig{opt: opt, binary: opt.Binary, log: opt.Log, launcher: proc.NewLauncher()}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := r.startLab(ctx); err != nil {
		return err
	}
	for i, mode := range r.opt.Modes {
		f, err := r.newPgvip(ctx, mode, mode, i, nil)
		if err != nil {
			return err
		}
		r.fronts = append(r.fronts, f)
	}
	if r.opt.Rival {
		f, err := r.newHAProxy(ctx, len(r.opt.Modes))
		if err != nil {
			return err
		}
		r.fronts = append(r.fronts, f)
	}
	return nil
}

// startLab starts the cluster, with what observes it. Commits are synchronous:
// with PostgreSQL's default a crash loses acknowledged writes, and nobody could
// tell those from writes that a front has lost. Both replicas are synchronous:
// were one of them, the other could be ahead of it, and has to be rewound then.
func (r *Rig) startLab(ctx context.Context) (err error) {
	r.lab, err = lab.Start(ctx, lab.Options{
		Nodes: 3, EtcdMembers: 3, EtcdLinks: true, PromotionHook: true, Log: r.log,
		DCS: map[string]any{"synchronous_mode": true, "synchronous_node_count": 2},
		Parameters: map[string]string{
			"max_connections": "120", "log_min_messages": "log", "log_min_error_statement": "panic",
			"wal_keep_size": "256MB", "log_timezone": "UTC",
		},
	})
	if err != nil {
		return err
	}
	leader, err := r.lab.WaitLeader(ctx)
	if err != nil {
		return err
	}
	if _, err := leader.Postgres.SQL(ctx, lab.AppDatabase, ledgerSQL); err != nil {
		return err
	}
	if r.dir = filepath.Join(r.lab.Dir(), "failover"); os.Mkdir(r.dir, 0o755) != nil {
		return fmt.Errorf("make %s", r.dir)
	}
	if err := r.writeUsers(ctx, leader); err != nil {
		return err
	}
	for _, target := range r.lab.EtcdEndpoints() {
		l, err := r.lab.Link(target)
		if err != nil {
			return err
		}
		r.links = append(r.links, l)
	}
	r.prober = newProber(r.lab.Nodes)
	r.watcher, err = newWatcher(r.lab)
	return err
}

// writeUsers gives pgvip verifiers and no password.
func (r *Rig) writeUsers(ctx context.Context, leader *lab.Node) error {
	var list strings.Builder
	verifier, err := leader.Postgres.Verifier(ctx, lab.AppUser)
	if err != nil {
		return err
	}
	fmt.Fprintf(&list, "%q %q\n%q \"\"\n", lab.AppUser, verifier, lab.TrustUser)
	return os.WriteFile(filepath.Join(r.dir, "userlist.txt"), []byte(list.String()), 0o600)
}

func (r *Rig) etcdHosts() []string {
	var hosts []string
	for _, l := range r.links {
		hosts = append(hosts, l.Addr)
	}
	return hosts
}

// Close ends everything.
func (r *Rig) Close() error {
	for _, f := range r.fronts {
		f.stop()
	}
	if r.prober != nil {
		r.prober.close()
	}
	if r.watcher != nil {
		r.watcher.close()
	}
	r.launcher.Close()
	if r.lab == nil {
		return nil
	}
	return errors.Join(r.keep(), r.lab.Stop())
}

// keep copies the logs out of the lab, which goes.
func (r *Rig) keep() error {
	if r.opt.Keep == "" {
		return nil
	}
	if err := os.MkdirAll(r.opt.Keep, 0o755); err != nil {
		return fmt.Errorf("keep logs: %w", err)
	}
	var errs []error
	for _, dir := range []string{r.lab.Dir(), r.dir} {
		logs, err := filepath.Glob(filepath.Join(dir, "*.log"))
		errs = append(errs, err)
		for _, path := range logs {
			text, err := os.ReadFile(path)
			errs = append(errs, err, os.WriteFile(filepath.Join(r.opt.Keep, filepath.Base(path)), text, 0o644))
		}
	}
	return errors.Join(errs...)
}

func (r *Rig) say(format string, args ...any) {
	fmt.Fprintf(r.log, time.Now().Format("15:04:05.000 ")+format+"\n", args...)
}
