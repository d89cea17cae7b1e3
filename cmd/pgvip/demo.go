package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/internal/lab"
)

func demoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Start a cluster and show pgvip at work",
		Long: "demo starts three PostgreSQL nodes under Patroni and an etcd on loopback addresses,\n" +
			"runs pgvip in front of them and shows the main job with psql. On a terminal it then\n" +
			"stays, so that you can try for yourself; Ctrl-C removes everything. It needs root and\n" +
			"Debian's packages (make deps).",
		Args: cobra.NoArgs,
	}
	once := cmd.Flags().Bool("once", false, "end after the last step; exit 0 only if each step proved true")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
		defer stop()
		stay := !*once && isTerminal(os.Stdout)
		return demo(ctx, cmd.OutOrStdout(), stay)
	}
	return cmd
}

func isTerminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// demo shows the main job. Every step proves what it says, or ends the demo.
func demo(ctx context.Context, out io.Writer, stay bool) (err error) {
	fmt.Fprintln(out, "Starting etcd and three PostgreSQL nodes under Patroni ...")
	began := time.Now()
	cluster, err := lab.Start(ctx, lab.Options{Nodes: 3, Scope: "demo"})
	if err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	defer func() {
		fmt.Fprintln(out, "Removing the cluster.")
		if stopErr := cluster.Stop(); err == nil && stopErr != nil {
			err = fmt.Errorf("lab: %w", stopErr)
		}
	}()
	fmt.Fprintf(out, "  up after %.1f s\n", time.Since(began).Seconds())

	g, err := startGate(ctx, cluster)
	if err != nil {
		return err
	}
	defer g.stop()
	fmt.Fprintf(out, "pgvip runs in front of them:\n  writes %s   reads %s   page http://%s/\n", g.writes(), g.reads(), g.admin())

	for _, step := range []func(context.Context, io.Writer, *lab.Cluster, *gate) error{
		showWrite, showReads, showSwitchover,
	} {
		if err := step(ctx, out, cluster, g); err != nil {
			g.printLog(out)
			return err
		}
	}
	fmt.Fprintln(out, "\nEvery step proved true.")
	if stay {
		fmt.Fprintf(out, "\nTry it: PGPASSWORD=%s psql -h %s -p 5000 -U %s %s\nWatch it: http://%s/\nCtrl-C ends the demo.\n",
			lab.AppPassword, g.host, lab.AppUser, lab.AppDatabase, g.admin())
		<-ctx.Done()
	}
	return nil
}

func showWrite(ctx context.Context, out io.Writer, cluster *lab.Cluster, g *gate) error {
	fmt.Fprintln(out, "\n1. A write through port 5000 lands on the leader.")
	leader, err := cluster.Leader(ctx)
	if err != nil {
		return err
	}
	at, err := g.psql(ctx, out, 5000,
		"CREATE TABLE IF NOT EXISTS greeting (at timestamptz DEFAULT now(), text text)",
		"INSERT INTO greeting (text) VALUES ('hello') RETURNING host(inet_server_addr())")
	if err != nil {
		return err
	}
	if at != leader.Postgres.Host {
		return fmt.Errorf("the write landed on %s, the leader is %s on %s", at, leader.Name, leader.Postgres.Host)
	}
	fmt.Fprintf(out, "   -> %s, which is %s, the leader\n", at, leader.Name)
	return nil
}

func showReads(ctx context.Context, out io.Writer, cluster *lab.Cluster, g *gate) error {
	fmt.Fprintln(out, "\n2. Four reads through port 5001 take turns on the replicas.")
	leader, err := cluster.Leader(ctx)
	if err != nil {
		return err
	}
	var seen []string
	for range 4 {
		at, err := g.psql(ctx, out, 5001, "SELECT host(inet_server_addr()) WHERE pg_is_in_recovery()")
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "   -> %s\n", at)
		seen = append(seen, at)
	}
	alternate := seen[0] == seen[2] && seen[1] == seen[3] && seen[0] != seen[1]
	for _, at := range seen {
		if at == "" || at == leader.Postgres.Host {
			return fmt.Errorf("a read was not served by a replica: %q", at)
		}
	}
	if !alternate {
		return fmt.Errorf("the reads did not take turns: %v", seen)
	}
	return nil
}

func showSwitchover(ctx context.Context, out io.Writer, cluster *lab.Cluster, g *gate) error {
	fmt.Fprintln(out, "\n3. After a Patroni switchover port 5000 follows the leader.")
	old, err := cluster.Leader(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "   $ patronictl switchover --candidate n2 --force")
	if err := cluster.Switchover(ctx, "n2"); err != nil {
		return fmt.Errorf("switchover: %w", err)
	}
	writable := time.Now()
	leader := cluster.Node("n2")
	at, err := g.psql(ctx, out, 5000, "INSERT INTO greeting (text) VALUES ('hello again') RETURNING host(inet_server_addr())")
	if err != nil {
		return err
	}
	if at != leader.Postgres.Host || leader == old {
		return fmt.Errorf("the write landed on %s, the new leader is %s on %s", at, leader.Name, leader.Postgres.Host)
	}
	fmt.Fprintf(out, "   -> %s, which is %s; %d ms after the new leader was seen writable (psql's start included)\n",
		at, leader.Name, time.Since(writable).Milliseconds())
	return nil
}
