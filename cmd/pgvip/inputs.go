package main

import (
	"errors"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/config"
)

// inputs is what pgvip reads from files: the configuration and all that it
// names. It is read as a whole, and not changed afterwards.
type inputs struct {
	config *config.Config
	users  *auth.UserList
}

// readInputs reads the configuration at path and all that it names.
func readInputs(path string) (*inputs, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return readNamed(c)
}

// readNamed reads what a configuration names. The error has all that is wrong.
func readNamed(c *config.Config) (*inputs, error) {
	in := &inputs{config: c}
	var err error
	if in.users, err = readUserList(c); err != nil {
		return nil, err
	}
	return in, nil
}

// complaints gives each thing that is wrong as a line of its own.
func complaints(err error) []string {
	var faults config.Faults
	if !errors.As(err, &faults) {
		return []string{err.Error()}
	}
	lines := make([]string, len(faults))
	for i, f := range faults {
		lines[i] = f.Error()
	}
	return lines
}
