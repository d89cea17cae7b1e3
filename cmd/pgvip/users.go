package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/config"
)

// readUserList reads the list that auth_file names; without one it is empty. What
// is wrong in the list comes as config.Faults, a list that cannot be read as an
// error that says why.
func readUserList(c *config.Config) (*auth.UserList, error) {
	if c.AuthFile == "" {
		return auth.ParseUserList(nil)
	}
	data, err := os.ReadFile(c.AuthFile)
	if err != nil {
		return nil, fmt.Errorf("auth_file: %w", err)
	}
	users, err := auth.ParseUserList(data)
	if err != nil {
		return nil, listFaults(c.AuthFile, err)
	}
	return users, nil
}

// listFaults makes a fault of each error that the list's parser has joined.
func listFaults(file string, err error) config.Faults {
	errs := []error{err}
	var joined interface{ Unwrap() []error }
	if errors.As(err, &joined) {
		errs = joined.Unwrap()
	}
	var faults config.Faults
	for _, e := range errs {
		faults = append(faults, config.Fault{File: file, Text: e.Error()})
	}
	return faults
}
