package main

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/config"
)

// The exit codes of every command.
const (
	codeFine   = 0
	codeFailed = 1 // what was asked for did not come about: a port in use, a step of the demo
	codeUsage  = 2 // wrong command line or configuration: nothing was tried
)

// exitError is an error that knows its exit code.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// errSaid ends a command that has already printed what is wrong.
var errSaid = errors.New("already reported")

// markFailures makes the errors of every command's own work exit with
// codeFailed unless they say otherwise. Those of cobra about the command line
// stay unmarked, and exitCode takes them for wrong usage.
func markFailures(cmd *cobra.Command) {
	if work := cmd.RunE; work != nil {
		cmd.RunE = func(cmd *cobra.Command, args []string) error {
			return markFailure(work(cmd, args))
		}
	}
	for _, sub := range cmd.Commands() {
		markFailures(sub)
	}
}

func markFailure(err error) error {
	var marked *exitError
	var faults config.Faults
	switch {
	case err == nil:
		return nil
	case errors.As(err, &marked):
		return err
	case errors.As(err, &faults):
		return &exitError{codeUsage, err}
	default:
		return &exitError{codeFailed, err}
	}
}

// exitCode gives the exit code of the process for the error of a command.
func exitCode(err error) int {
	var marked *exitError
	switch {
	case err == nil:
		return codeFine
	case errors.As(err, &marked):
		return marked.code
	default:
		return codeUsage
	}
}

// report prints an error, or each of several: a fault of a configuration says
// itself where it is, everything else that pgvip says it.
func report(stderr io.Writer, err error) {
	if errors.Is(err, errSaid) {
		return
	}
	for _, e := range each(err) {
		if fault := new(config.Fault); errors.As(e, fault) {
			fmt.Fprintln(stderr, e)
		} else {
			fmt.Fprintln(stderr, "pgvip:", e)
		}
	}
}
