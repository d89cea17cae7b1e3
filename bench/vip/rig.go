package vip

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
	Binary string        // path of pgvip
	Keep   string        // folder for the logs of pgvip, empty to throw them away
	Soak   time.Duration // length of the scenario with a bad network, 0 for a short one
	Log    io.Writer
}

// Rig is the lab, the LAN, and two pgvip nodes on it. It is used by one goroutine.
type Rig struct {
	opt      Options
	dir      string
	launcher *proc.Launcher
	lab      *lab.Cluster
	net      *Network
	nodes    []*Node // lb1, lb2
	client   *Host
	stranger *Host
	observer *Observer
	visitor  *Visitor
	written  int64 // highest number of any writer
	psqlNext int64 // the same of psql
}

const (
	startTimeout = 30 * time.Second
	labTimeout   = 3 * time.Minute
)

// NewRig starts everything. The caller calls Close.
func NewRig(ctx context.Context, opt Options) (*Rig, error) {
	r := &Rig{opt: opt, launcher: proc.NewLauncher()}
	if err := r.start(ctx); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

func (r *Rig) start(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, labTimeout)
	defer cancel()
	if r.net, err = NewNetwork(); err != nil {
		return err
	}
	if err := r.startLab(ctx); err != nil {
		return err
	}
	for i := range 2 {
		h, err := r.net.AddHost(ctx, fmt.Sprintf("lb%d", i+1), 11+i)
		if err != nil {
			return err
		}
		n := &Node{Host: h, rig: r}
		r.nodes = append(r.nodes, n)
		if n.watch, err = NewWatch(h, VIP4); err != nil {
			return err
		}
	}
	if r.client, err = r.net.AddHost(ctx, "client", 31); err != nil {
		return err
	}
	if r.stranger, err = r.net.AddHost(ctx, "stranger", 32); err != nil {
		return err
	}
	eye, err := r.net.AddHost(ctx, "observer", 41)
	if err != nil {
		return err
	}
	if r.observer, err = NewObserver(eye, VIP4); err != nil {
		return err
	}
	r.visitor = NewVisitor(r.client, VIP4.String()+":5000")
	return nil
}

// startLab starts the cluster. Patroni's failsafe mode keeps the primary while
// all of etcd is down: what is asked here is where the address is.
func (r *Rig) startLab(ctx context.Context) (err error) {
	r.lab, err = lab.Start(ctx, lab.Options{
		Nodes: 2, EtcdMembers: 3, Log: r.opt.Log,
		DCS: map[string]any{"failsafe_mode": true},
		HBA: []string{"host all all 10.98.0.0/15 scram-sha-256"},
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
	r.dir = filepath.Join(r.lab.Dir(), "vip")
	verifier, err := leader.Postgres.Verifier(ctx, lab.AppUser)
	return errors.Join(err,
		os.Mkdir(r.dir, 0o755),
		os.WriteFile(filepath.Join(r.dir, "userlist.txt"), fmt.Appendf(nil, "%q %q\n", lab.AppUser, verifier), 0o600),
		os.WriteFile(filepath.Join(r.dir, "cluster.keys"), []byte(clusterKey+"\n"), 0o600),
	)
}

// appURL is the application behind the address.
func appURL() string {
	return fmt.Sprintf("postgres://%s:%s@%s:5000/%s?sslmode=disable", lab.AppUser, lab.AppPassword, VIP4, lab.AppDatabase)
}

// Close ends everything.
func (r *Rig) Close() error {
	if r.visitor != nil {
		r.visitor.Close()
	}
	for _, n := range r.nodes {
		n.stop()
		if n.watch != nil {
			n.watch.Close()
		}
	}
	if r.observer != nil {
		r.observer.Close()
	}
	if r.net != nil {
		r.net.Close()
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
	logs, err := filepath.Glob(filepath.Join(r.dir, "*.log"))
	errs := []error{err}
	for _, path := range logs {
		text, err := os.ReadFile(path)
		errs = append(errs, err, os.WriteFile(filepath.Join(r.opt.Keep, filepath.Base(path)), text, 0o644))
	}
	return errors.Join(errs...)
}

func (r *Rig) say(format string, args ...any) {
	fmt.Fprintf(r.opt.Log, time.Now().Format("15:04:05.000 ")+strings.TrimSpace(format)+"\n", args...)
}
