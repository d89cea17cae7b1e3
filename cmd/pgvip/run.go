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
)

func runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve clients until told to stop",
		Args:  cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		in, err := readInputs(*path)
		if err != nil {
			return &exitError{codeUsage, err}
		}
		level := zap.NewAtomicLevelAt(logLevel(in.config.Log))
		log, queue := newLogger(in.config.Log, level, cmd.OutOrStdout())
		defer queue.Close()
		return run(in, log, level)
	}
	return cmd
}

// run serves until SIGTERM or SIGINT, then drains. Another of them ends that at
// once.
func run(in *inputs, log *zap.Logger, level zap.AtomicLevel) error {
	// A reader of standard output that has gone costs log lines, not clients:
	// Go's default is to end the process.
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	signals := make(chan os.Signal, 8) // a burst of them must not hide a SIGTERM
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2)
	defer signal.Stop(signals)

	n, err := newNode(in, log, level)
	if err != nil {
		return err
	}
	c := in.config
	if text := descriptorWarning(c, in.users.Len(), descriptorLimit()); text != "" {
		log.Warn(text)
	}
	n.start()
	log.Info("pgvip is serving", zap.String("version", version),
		zap.String("primary", joined(c.Listen.Primary)), zap.String("replicas", joined(c.Listen.Replicas)),
		zap.String("cluster", c.Namespace+c.Scope), zap.Int("loops", len(n.loops)))

	sig := n.nextStop(signals, nil)
	limit := n.config().DrainTimeout
	log.Info("stopping", zap.String("signal", signalName(sig)), zap.Int("clients", n.proxy.Clients()),
		zap.Duration("drain_timeout", limit))
	began := time.Now()
	n.drain(limit, signals)
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
		if sig := n.nextStop(signals, stopped); sig != nil {
			n.log.Warn("stopping at once", zap.String("signal", signalName(sig)), zap.Int("clients", n.proxy.Clients()))
			cancel()
		}
	})
	n.stop(ctx)
	close(stopped)
	watch.Wait()
}

// nextStop waits for a signal to stop, and gives nil when done is closed before.
// What the other signals of PgBouncer ask for it does meanwhile.
func (n *node) nextStop(signals <-chan os.Signal, done <-chan struct{}) os.Signal {
	for {
		select {
		case sig := <-signals:
			switch sig {
			case syscall.SIGHUP:
				_ = n.Reload() // it logs its error
			case syscall.SIGUSR1, syscall.SIGUSR2:
				n.log.Warn("pause and resume are not built yet", zap.String("signal", signalName(sig)))
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
