// Command pgvip stands before a Patroni cluster: it finds the primary, pools
// the connections to it and moves the clients when it changes.
//
// This package is the recipe: it reads the configuration, builds the parts,
// starts them in order and stops them in order. It holds no logic of theirs.
package main

import (
	"io"
	"os"
)

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns the exit code of the process.
func execute(args []string, stdout, stderr io.Writer) int {
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.Execute()
	report(stderr, err)
	return exitCode(err)
}
