package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/vrrp/address"
)

// vipCommand is for the virtual IP when no pgvip runs.
func vipCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "vip",
		Short: "Clean up the virtual IP when no pgvip runs",
		Args:  knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &exitError{codeUsage, fmt.Errorf("a command is missing, see %q", cmd.CommandPath()+" --help")}
		},
	}
	cmd.AddCommand(vipReleaseCommand())
	return cmd
}

func vipReleaseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "release",
		Short: "Remove the virtual IP from this machine, if no pgvip runs here",
		Long: "release removes the addresses of the vip section from their interface when no pgvip runs\n" +
			"that has them: what a keeper that was killed has left, which the kernel would remove some\n" +
			"seconds later. The unit file runs it after each stop. While a pgvip runs it does nothing and\n" +
			"ends with 1. It needs CAP_NET_ADMIN.",
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := config.Load(*path)
		if err != nil {
			return err
		}
		if !c.VIP.Enabled() {
			return nil // the unit file is the same on nodes without one
		}
		lock, err := lockVIP(c)
		if err != nil {
			return err
		}
		defer lock.Close()
		err = address.Clear(c.VIP.Interface, c.VIP.Addresses)
		if errors.Is(err, address.ErrNoInterface) {
			return nil // nor an address
		}
		return err
	}
	return cmd
}

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
