package main

import (
	"context"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/config"
)

func runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve clients until told to stop",
		Args:  cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := config.Load(*path)
		if err != nil {
			return err
		}
		users, err := readUserList(c)
		if err != nil {
			return &exitError{codeUsage, err}
		}
		log, queue, err := newLogger(c.Log, cmd.OutOrStdout())
		if err != nil {
			return err
		}
		defer queue.Close()
		return run(c, users, log)
	}
	return cmd
}

// run serves until SIGTERM or SIGINT, then drains. Another of them ends that at
// once.
func run(c *config.Config, users *auth.UserList, log *zap.Logger) error {
	// A reader of standard output that has gone costs log lines, not clients:
	// Go's default is to end the process.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	signals := make(chan os.Signal, 8) // a burst of them must not hide a SIGTERM
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	n, err := newNode(c, users, log)
	if err != nil {
		return err
	}
	if text := descriptorWarning(c, users.Len(), descriptorLimit()); text != "" {
		log.Warn(text)
	}
	n.start()
	log.Info("pgvip is serving", zap.String("version", version),
		zap.String("primary", joined(c.Listen.Primary)), zap.String("replicas", joined(c.Listen.Replicas)),
		zap.String("cluster", c.Namespace+c.Scope), zap.Int("loops", len(n.loops)))

	sig := nextStop(signals, nil, log)
	log.Info("stopping", zap.String("signal", signalName(sig)), zap.Int("clients", n.proxy.Clients()),
		zap.Duration("drain_timeout", c.DrainTimeout))
	began := time.Now()
	n.drain(c.DrainTimeout, signals)
	log.Info("stopped", zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	return nil
}

// drain stops the node; limit, or another signal to stop, ends the patience with
// open transactions.
func (n *node) drain(limit time.Duration, signals <-chan os.Signal) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	stopped := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		if sig := nextStop(signals, stopped, n.log); sig != nil {
			n.log.Warn("stopping at once", zap.String("signal", signalName(sig)), zap.Int("clients", n.proxy.Clients()))
			cancel()
		}
	})
	n.stop(ctx)
	close(stopped)
	watch.Wait()
}

// nextStop waits for a signal to stop, and gives nil when done is closed before.
// The other signals that PgBouncer knows change nothing yet; their default, the
// end of the process, would surprise those who send them.
func nextStop(signals <-chan os.Signal, done <-chan struct{}, log *zap.Logger) os.Signal {
	for {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				log.Warn("reload is not built yet: restart to apply changes", zap.String("signal", signalName(sig)))
			case syscall.SIGUSR1, syscall.SIGUSR2:
				log.Warn("pause and resume are not built yet", zap.String("signal", signalName(sig)))
			default:
				return sig
			}
		case <-done:
			return nil
		}
	}
}

// signalName gives "SIGHUP", where String would give "hangup".
func signalName(sig os.Signal) string {
	if n, ok := sig.(syscall.Signal); ok {
		return unix.SignalName(n)
	}
	return sig.String()
}
