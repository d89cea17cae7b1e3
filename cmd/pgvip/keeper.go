package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/vrrp/keeper"
)

// keeperLine is the descriptor at which pgvip run puts the keeper's end of their
// pair of sockets.
const keeperLine = 3

// keeperCommand is the process that holds the virtual IP. It is no command for
// people: pgvip run starts it.
func keeperCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "keeper",
		Short:  "Hold the virtual IP for pgvip run, which starts this",
		Args:   cobra.NoArgs,
		Hidden: true,
		RunE: func(*cobra.Command, []string) error {
			err := keeper.Run(keeperLine)
			if errors.Is(err, keeper.ErrNotAChild) {
				return &exitError{codeUsage, errors.New("keeper: is started by pgvip run, not by hand")}
			}
			return err
		},
	}
}
