package main

import (
	"os"
	"os/signal"
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

// run serves until a signal or an operator ends it.
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
		zap.String("admin", joined(c.Listen.Admin)),
		zap.String("cluster", c.Namespace+c.Scope), zap.Int("loops", len(n.loops)))

	how := n.nextStop(signals, nil)
	began := time.Now()
	n.end(how, signals)
	log.Info("stopped", zap.Duration("took", time.Since(began).Round(time.Millisecond)))
	return nil
}

// signalName gives "SIGHUP", where String would give "hangup".
func signalName(sig os.Signal) string {
	if n, ok := sig.(syscall.Signal); ok {
		return unix.SignalName(n)
	}
	return sig.String()
}
