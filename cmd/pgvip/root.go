package main

import (
	"fmt"

	"github.com/spf13/cobra"
)

// defaultConfigFile is where a package puts the configuration.
const defaultConfigFile = "/etc/pgvip/pgvip.yaml"

// newRootCommand builds the command line. Cobra adds help and completion.
func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "pgvip",
		Short: "One address before a Patroni cluster: routing, pooling, failover",
		Long: "pgvip leads clients to the primary and the replicas of a Patroni cluster,\n" +
			"pools their connections and moves them when the primary changes.\n\n" +
			"Exit codes: 0 fine, 1 failed, 2 wrong usage or configuration.",
		// Errors are printed once, by report, and help only when asked for: a
		// page of flags would hide the one line that says what is wrong.
		SilenceErrors:              true,
		SilenceUsage:               true,
		SuggestionsMinimumDistance: 2,
		Args:                       knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return &exitError{codeUsage, fmt.Errorf("a command is missing, see %q", cmd.CommandPath()+" --help")}
		},
	}
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return fmt.Errorf("%w, see %q", err, cmd.CommandPath()+" --help")
	})
	root.AddCommand(runCommand(), checkCommand(), statusCommand(), drainCommand(), drillCommand(), importCommand(), demoCommand(), versionCommand(),
		keeperCommand(), vipCommand(), unprivilegedCommand())
	markFailures(root)
	return root
}

// knownCommand refuses what is not a command, on one line. Cobra's own answer
// takes several.
func knownCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	hint := fmt.Sprintf("see %q", cmd.CommandPath()+" --help")
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		hint = "did you mean " + near[0] + "?"
	}
	return fmt.Errorf("unknown command %q, %s", args[0], hint)
}

// addConfigFlag gives a command the flag -c and returns where its value will be.
func addConfigFlag(cmd *cobra.Command) *string {
	path := cmd.Flags().StringP("config", "c", defaultConfigFile, "configuration file")
	// A flag that does not exist is the only error, and it has just been made.
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return path
}
