package main

import (
	"crypto/tls"
	"errors"
	"fmt"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/tlsconf"
)

// inputs is what pgvip reads from files: the configuration and all that it
// names. It is read as a whole, and not changed afterwards.
type inputs struct {
	config    *config.Config
	users     *auth.UserList
	hba       *auth.HBA // nil unless auth_type is hba
	clientTLS *tlsconf.Acceptor
	serverTLS *tlsconf.Connector
	adminCert *tls.Certificate // nil for plain HTTP

	etcdTLS    *tls.Config // nil without
	patroniAPI *health.REST
}

// readInputs reads the configuration at path and all that it names.
func readInputs(path string) (*inputs, error) {
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	return readNamed(c)
}

// readNamed reads what a configuration names. The error joins all that is wrong,
// each with its key or its file.
func readNamed(c *config.Config) (*inputs, error) {
	in := &inputs{config: c}
	var errs [6]error
	in.users, errs[0] = readUserList(c)
	in.clientTLS, errs[1] = tlsconf.Accepting(tlsOptions(&c.ClientTLS))
	errs[1] = ofKey("client_tls_sslmode", errs[1])
	in.hba, errs[2] = readHBA(c)
	in.serverTLS, errs[3] = tlsconf.Connecting(tlsOptions(&c.ServerTLS), c.ServerTLS.Negotiation == "direct")
	errs[3] = ofKey("server_tls_sslmode", errs[3])
	in.adminCert, errs[4] = readAdminCert(c)
	errs[5] = readSources(in)
	return in, errors.Join(errs[:]...)
}

// ofKey says which key led to an error.
func ofKey(key string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", key, err)
}

// tlsOptions are the settings of one side.
func tlsOptions(t *config.TLS) tlsconf.Options {
	return tlsconf.Options{
		Mode: map[config.SSLMode]tlsconf.Mode{
			config.SSLDisable: tlsconf.Disable, config.SSLAllow: tlsconf.Allow, config.SSLPrefer: tlsconf.Prefer,
			config.SSLRequire: tlsconf.Require, config.SSLVerifyCA: tlsconf.VerifyCA, config.SSLVerifyFull: tlsconf.VerifyFull,
		}[t.Mode],
		CertFile: t.CertFile, KeyFile: t.KeyFile, CAFile: t.CAFile,
		MinVersion: t.Protocols.Min, MaxVersion: t.Protocols.Max,
		CipherSuites: t.Ciphers.IDs(), Curves: t.Curves.IDs(),
	}
}

// each gives the errors that are joined in one, and the faults of a
// configuration one by one.
func each(err error) []error {
	if err == nil {
		return nil
	}
	var all []error
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			all = append(all, each(e)...)
		}
		return all
	}
	var faults config.Faults
	if !errors.As(err, &faults) {
		return []error{err}
	}
	for _, f := range faults {
		all = append(all, f)
	}
	return all
}
