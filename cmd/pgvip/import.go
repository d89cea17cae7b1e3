package main

import (
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/migrate"
)

// newFileMode is that of an imported configuration, which may hold passwords.
const newFileMode = 0o600

func importCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "import pgbouncer.ini",
		Short: "Make a configuration of one of PgBouncer",
		Long: "Reads pgbouncer.ini, with its databases, users and includes, and writes the same as pgvip.yaml,\n" +
			"to standard output or a file. What has no meaning to pgvip is named on standard error, with its\n" +
			"line, and again at the end of the new file. The user list is taken as it is.",
		Example: "  pgvip import /etc/pgbouncer/pgbouncer.ini -o pgvip.yaml",
		Args:    cobra.ExactArgs(1),
	}
	output := cmd.Flags().StringP("output", "o", "", "file to write, which must not be there yet (default standard output)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		r, err := migrate.Convert(args[0], os.ReadFile)
		if err != nil {
			return &exitError{codeUsage, err}
		}
		for _, n := range r.Notes {
			fmt.Fprintln(cmd.ErrOrStderr(), n)
		}
		if *output == "" {
			_, err = fmt.Fprint(cmd.OutOrStdout(), r.YAML)
			return err
		}
		if err := writeNew(*output, r.YAML); err != nil {
			return err
		}
		fmt.Fprintf(cmd.ErrOrStderr(), "%s: written; fill in scope, etcd and probe, then run \"pgvip check -c %s\"\n", *output, *output)
		return nil
	}
	return cmd
}

// writeNew writes a file that is not there yet.
func writeNew(path, text string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, newFileMode)
	if err != nil {
		return err
	}
	if _, err := f.WriteString(text); err != nil {
		f.Close()
		return err
	}
	return f.Close()
}
