package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// version is set by the build with -ldflags "-X main.version=1.2.3".
var version = "dev"

// buildFacts says which binary this is. The names are those of --json.
type buildFacts struct {
	Version  string `json:"version"`
	Commit   string `json:"commit"`   // "" when built outside a checkout
	Modified bool   `json:"modified"` // built from uncommitted changes
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func readBuildFacts() buildFacts {
	b := buildFacts{
		Version:  version,
		Go:       runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH,
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

// String gives "pgvip 1.2.3 (commit 0123456789ab, go1.26.8, linux/amd64)".
func (b buildFacts) String() string {
	commit := "unknown"
	if b.Commit != "" {
		commit = b.Commit[:min(len(b.Commit), 12)]
	}
	if b.Modified {
		commit += " with changes"
	}
	return fmt.Sprintf("pgvip %s (commit %s, %s, %s)", b.Version, commit, b.Go, b.Platform)
}

func versionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Say which version this is",
		Args:  cobra.NoArgs,
	}
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		facts := readBuildFacts()
		if *asJSON {
			return printJSON(cmd.OutOrStdout(), facts)
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), facts)
		return err
	}
	return cmd
}

// printJSON prints v for a machine that a person may look over the shoulder of.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
