package main

import "github.com/spf13/cobra"

// unprivilegedCommand runs a program of the operator's without privileges: notify
// programs and track scripts of the virtual IP.
func unprivilegedCommand() *cobra.Command {
	return &cobra.Command{
		Use:    plainCommand + " -- program [argument]...",
		Short:  "Run a program without capabilities (used by run)",
		Args:   cobra.MinimumNArgs(1),
		Hidden: true,
		RunE:   func(_ *cobra.Command, args []string) error { return execPlain(args) },
	}
}
