package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"time"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/route"
)

// adminStop bounds how long answers on the operators' port may take to finish
// when pgvip stops: everything else has ended by then.
const adminStop = time.Second

// window is the node as the operators' port sees it: an admin.Source, and
// admin.Actions.
type window struct {
	*node
	started time.Time
	build   buildFacts
	host    string
}

var (
	_ admin.Source  = (*window)(nil)
	_ admin.Actions = (*window)(nil)
)

// newAdmin makes the operators' port; it serves from start on.
func (n *node) newAdmin(in *inputs) *admin.HTTP {
	w := &window{node: n, started: time.Now(), build: readBuildFacts(), host: hostName()}
	return admin.New(admin.Options{Source: w, Actions: w, Log: n.log, Rules: n.adminRules, TLS: n.adminTLS(in)})
}

// adminRules are those of the configuration that counts now.
func (n *node) adminRules() admin.Rules {
	a := &n.config().Admin
	return admin.Rules{Token: a.Token.Reveal(), User: a.User, Password: a.Password.Reveal(), Refresh: a.Refresh}
}

// adminTLS gives the certificate of the inputs that count by then, nil for plain
// HTTP. Whether it is HTTPS at all is decided at the start.
func (n *node) adminTLS(in *inputs) *tls.Config {
	if in.adminCert == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			if cert := n.inputs.Load().adminCert; cert != nil {
				return cert, nil
			}
			return in.adminCert, nil
		},
	}
}

// readAdminCert reads the certificate of the operators' port, nil without one.
func readAdminCert(c *config.Config) (*tls.Certificate, error) {
	if c.Admin.CertFile == "" {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(c.Admin.CertFile, c.Admin.KeyFile)
	if err != nil {
		return nil, fmt.Errorf("admin.tls_cert_file: %w", err)
	}
	return &cert, nil
}

// stopAdmin ends the operators' port.
func (n *node) stopAdmin() {
	ctx, cancel := context.WithTimeout(context.Background(), adminStop)
	defer cancel()
	n.admin.Close(ctx)
}

// SetServer implements admin.Actions.
func (w *window) SetServer(server, state string) error {
	s, ok := route.ParseAdminState(state)
	if !ok {
		return fmt.Errorf("no such state of a server: %s", state)
	}
	err := w.control.SetAdmin(server, s)
	if errors.Is(err, console.ErrNoServer) {
		return fmt.Errorf("%w: server %s", admin.ErrUnknown, server)
	}
	return err
}

// SetPaused implements admin.Actions.
func (w *window) SetPaused(database string, paused bool) error {
	if !w.desk.knows(database) {
		return fmt.Errorf("%w: database %s", admin.ErrUnknown, database)
	}
	if paused {
		return w.desk.Pause(database)
	}
	return w.desk.Resume(database)
}
