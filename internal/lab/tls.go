package lab

import (
	"errors"
	"path/filepath"

	"github.com/pgvip/pgvip/internal/certs"
)

// enableTLS makes a certificate authority and a certificate for all of the
// slot's nodes, and returns the authority, its file and the server's parameters.
func (s *slot) enableTLS() (authority *certs.Authority, ca string, parameters map[string]string, err error) {
	authority, err = certs.New("pgvip lab CA")
	if err != nil {
		return nil, "", nil, err
	}
	hosts := []string{"localhost"}
	for n := range maxNodes {
		hosts = append(hosts, s.host(n+1))
	}
	server, err := authority.Server("pgvip lab", hosts...)
	if err != nil {
		return nil, "", nil, err
	}
	ca = filepath.Join(s.dir, "ca.crt")
	parameters = map[string]string{
		"ssl":           "on",
		"ssl_ca_file":   ca,
		"ssl_cert_file": filepath.Join(s.dir, "server.crt"),
		"ssl_key_file":  filepath.Join(s.dir, "server.key"),
	}
	return authority, ca, parameters, errors.Join(
		s.account.write(ca, string(authority.PEM())),
		s.account.write(parameters["ssl_cert_file"], string(server.Cert)),
		s.account.write(parameters["ssl_key_file"], string(server.Key)),
	)
}
