package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

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

// run serves until SIGTERM or SIGINT. A second signal ends it at once.
func run(c *config.Config, users *auth.UserList, log *zap.Logger) error {
	signals := make(chan os.Signal, 2) // two: the second must not be lost
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)
	defer signal.Stop(signals)

	n, err := newNode(c, users, log)
	if err != nil {
		return err
	}
	n.start()
	log.Info("pgvip is serving", zap.String("version", version),
		zap.String("primary", joined(c.Listen.Primary)), zap.String("replicas", joined(c.Listen.Replicas)),
		zap.String("cluster", c.Namespace+c.Scope), zap.Int("loops", len(n.loops)))

	sig := <-signals
	log.Info("stopping", zap.Stringer("signal", sig), zap.Int("clients", n.proxy.Clients()))
	ctx, cancel := context.WithTimeout(context.Background(), c.DrainTimeout)
	defer cancel()
	go func() {
		if sig, ok := <-signals; ok {
			log.Warn("stopping at once", zap.Stringer("signal", sig))
			cancel()
		}
	}()
	began := time.Now()
	n.stop(ctx)
	log.Info("stopped", zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	return nil
}

// listenError names the address and the way out, since "bind" alone helps
// nobody at night.
func listenError(address string, err error) error {
	var sys *os.SyscallError
	if errors.As(err, &sys) {
		err = sys.Err
	}
	return fmt.Errorf("listen on %s: %w", address, err)
}
