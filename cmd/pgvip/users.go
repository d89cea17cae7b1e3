package main

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/proxy"
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

// readHBA reads auth_hba_file and the maps in auth_ident_file, which only
// auth_type hba looks at.
func readHBA(c *config.Config) (*auth.HBA, error) {
	if c.AuthType != config.AuthHBA {
		return nil, nil
	}
	var maps *auth.IdentMaps
	if c.AuthIdentFile != "" {
		data, err := os.ReadFile(c.AuthIdentFile)
		if err != nil {
			return nil, fmt.Errorf("auth_ident_file: %w", err)
		}
		if maps, err = auth.ParseIdent(data); err != nil {
			return nil, listFaults(c.AuthIdentFile, err)
		}
	}
	data, err := os.ReadFile(c.AuthHBAFile)
	if err != nil {
		return nil, fmt.Errorf("auth_hba_file: %w", err)
	}
	hba, err := auth.ParseHBA(c.AuthHBAFile, data, maps, os.ReadFile)
	if err != nil {
		return nil, listFaults(c.AuthHBAFile, err)
	}
	return hba, nil
}

// authQueries is nil when nobody is to look up anybody.
func authQueries(in *inputs) func(database string) proxy.AuthQuery {
	if !looksUp(in.config) {
		return nil
	}
	return func(database string) proxy.AuthQuery { return authQuery(in, database) }
}

// looksUp reports whether users of some database are looked up by auth_query.
func looksUp(c *config.Config) bool {
	for _, d := range c.Databases {
		if d.AuthUser.IsSet() {
			return true
		}
	}
	return c.AuthUser != ""
}

// authQuery says how users of a database are looked up who are not in the list.
// auth_user itself is never looked up: its password is auth_user_password, or
// else what the list has.
func authQuery(in *inputs, database string) proxy.AuthQuery {
	c := in.config
	r := c.Rules(database, "")
	q := proxy.AuthQuery{User: r.AuthUser, SQL: r.AuthQuery, Database: r.AuthDBName}
	if q.Database == "" && !slices.Contains(console.Databases(), database) {
		q.Database = database
	}
	if q.User == "" || q.Database == "" {
		return proxy.AuthQuery{} // the console has no roles to look up
	}
	if q.User == c.AuthUser && c.AuthUserPassword.IsSet() {
		q.Credential = auth.Credential{Password: c.AuthUserPassword.Reveal()}
	} else {
		secret, _ := in.users.Lookup(q.User)
		q.Credential = secret.Credential()
	}
	return q
}

// serverCredential is what the servers of a database with a user of its own log
// in with: the password beside the user, or else what the user list has.
func serverCredential(in *inputs, d config.Database, user string) auth.Credential {
	if d.User == "" || d.User != user {
		return auth.Credential{} // what clients have brought
	}
	if d.Password.IsSet() {
		return auth.Credential{Password: d.Password.Reveal()}
	}
	secret, _ := in.users.Lookup(user)
	return secret.Credential()
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
