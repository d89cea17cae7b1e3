package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/config"
)

// verdict is what check found out. The names are those of --json.
type verdict struct {
	File   string        `json:"file"`
	OK     bool          `json:"ok"`
	Faults config.Faults `json:"faults"`
	// Warnings do not keep pgvip from starting.
	Warnings []string `json:"warnings"`

	config *config.Config // nil with faults in the configuration
	users  int            // in the user list; -1 when it could not be read
}

func checkCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration and print every fault in it",
		Args:  cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		v := check(*path)
		if *asJSON {
			if err := printJSON(cmd.OutOrStdout(), v); err != nil {
				return err
			}
		} else {
			v.print(cmd.OutOrStdout(), cmd.ErrOrStderr())
		}
		if !v.OK {
			return &exitError{codeUsage, errSaid}
		}
		return nil
	}
	return cmd
}

// check reads the configuration and all that it names.
func check(path string) *verdict {
	// Empty and not null in JSON, so that a script can count without a special case.
	v := &verdict{File: path, Faults: config.Faults{}, Warnings: []string{}}
	var err error
	if v.config, err = config.Load(path); err == nil {
		v.checkNamed(v.config)
	} else if !errors.As(err, &v.Faults) {
		panic("BUG: config.Load gives no Faults: " + err.Error())
	}
	v.OK = len(v.Faults) == 0
	return v
}

// checkNamed reads what the configuration names. A file that this user may not
// read is only a warning: check is often run by somebody else than pgvip is.
func (v *verdict) checkNamed(c *config.Config) {
	v.users = -1
	v.warn(blindCheckWarning(c))
	v.checkVIP(c)
	in, err := readNamed(c)
	for _, e := range each(err) {
		var fault config.Fault
		switch {
		case errors.Is(e, fs.ErrPermission):
			v.warn(e.Error())
		case errors.As(e, &fault):
			v.Faults = append(v.Faults, fault)
		default:
			v.Faults = append(v.Faults, config.Fault{File: v.File, Text: e.Error()})
		}
	}
	if in.users == nil {
		return
	}
	v.users = in.users.Len()
	if v.users == 0 && !openToOthers(c) {
		v.warn("auth_type " + c.AuthType.String() + ": auth_file has no user and there is no auth_user, so nobody can log in")
	}
	v.warn(descriptorWarning(c, v.users, descriptorLimit()))
}

// warn notes a warning, if there is one.
func (v *verdict) warn(text string) {
	if text != "" {
		v.Warnings = append(v.Warnings, text)
	}
}

// print writes the verdict for people: faults and warnings to stderr, the
// summary of a good configuration to stdout.
func (v *verdict) print(stdout, stderr io.Writer) {
	for _, f := range v.Faults {
		fmt.Fprintln(stderr, f)
	}
	for _, w := range v.Warnings {
		fmt.Fprintln(stderr, "warning:", w)
	}
	if !v.OK {
		return
	}
	fmt.Fprintf(stdout, "%s: ok\n", v.File)
	for _, line := range v.summary() {
		fmt.Fprintf(stdout, "  %-9s %s\n", line[0], line[1])
	}
}

// summary gives what an operator wants to see once more before a start, as
// pairs of a name and a sentence.
func (v *verdict) summary() [][2]string {
	c := v.config
	lines := [][2]string{
		{"cluster", clusterText(c)},
		{"primary", joined(c.Listen.Primary)},
		{"replicas", joined(c.Listen.Replicas)},
		{"admin", joined(c.Listen.Admin)},
	}
	if c.Listen.UnixSocketDir != "" {
		lines = append(lines, [2]string{"sockets", c.Listen.UnixSocketDir})
	}
	if c.VIP.Enabled() {
		lines = append(lines, [2]string{"vip", vipText(c)})
	}
	users := c.AuthType.String()
	switch {
	case c.AuthFile == "":
	case v.users < 0:
		users += ", those in " + c.AuthFile
	default:
		users += fmt.Sprintf(", %d in %s", v.users, c.AuthFile)
	}
	return append(lines,
		[2]string{"users", users},
		[2]string{"pools", fmt.Sprintf("%s mode, %d servers each, %d clients in all",
			c.PoolMode, c.DefaultPoolSize, c.MaxClientConn)},
	)
}

func joined(addresses []config.Address) string {
	if len(addresses) == 0 {
		return "none"
	}
	texts := make([]string, len(addresses))
	for i, a := range addresses {
		texts[i] = a.String()
		if a.Host == "" {
			texts[i] = "*" + texts[i]
		}
	}
	return strings.Join(texts, ", ")
}
