package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// opened plays how a connection begins and gives what was answered, byte by byte:
//
//	g  GSSENCRequest    s  SSLRequest    x  a byte behind the request before it
//	T  a TLS handshake  D  the same, with ALPN, as direct TLS has it
//
// Behind the last step comes a startup packet; what comes of that is "in" or an
// SQLSTATE. The error has to be the end of the connection.
func opened(t *testing.T, network, addr, steps string) string {
	t.Helper()
	socket, err := net.DialTimeout(network, addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.SetDeadline(time.Now().Add(patience))
	c := &client{t: t, socket: socket, conn: socket, in: pgproto3.NewFrontend(socket, socket)}
	said := ""
	for i, step := range steps {
		switch step {
		case 'T', 'D':
			config := new(tls.Config)
			if step == 'D' {
				config.NextProtos = []string{tlsconf.Protocol}
			}
			if err := c.encrypt(config); err != nil {
				return said + "(no handshake)"
			}
			continue
		case 'x':
			continue
		}
		request := map[rune][]byte{'g': gssRequest, 's': sslRequest}[step]
		if strings.HasPrefix(steps[i+1:], "x") {
			request = append(request[:len(request):len(request)], 'x')
		}
		c.send(request)
		var answer [1]byte
		if _, err := io.ReadFull(c.conn, answer[:]); err != nil {
			t.Fatalf("%s: no answer behind %q: %v", steps, said, err)
		}
		if answer[0] == 'E' {
			return said + c.lastWords()
		}
		said += string(answer[:])
	}
	if strings.HasSuffix(steps, "x") {
		var e [1]byte
		if _, err := io.ReadFull(c.conn, e[:]); err != nil || e[0] != 'E' {
			t.Fatalf("%s: %q behind %q, %v; want an error", steps, e, said, err)
		}
		return said + c.lastWords()
	}
	c.send(trusted())
	if err := c.welcomed(); err != nil {
		c.gone()
		return said + code(err)
	}
	c.leave()
	return said + "in"
}

// lastWords reads an ErrorResponse whose type has been read, and the end.
func (c *client) lastWords() string {
	c.t.Helper()
	all, err := io.ReadAll(c.conn)
	if errors.Is(err, os.ErrDeadlineExceeded) || len(all) < 4 {
		c.t.Fatalf("%q, %v; want an error and the end", all, err)
	}
	e := wire.ParseError(all[4:])
	return "E" + e.Severity + e.Code
}

// TestEncryptionRequestsAsDirect: requests for encryption in each order, and once
// more, beside PostgreSQL. That of Debian can encrypt by GSSAPI and says so over
// TCP, as pgvip never does; over its Unix socket it does not, nor does that of 18.
func TestEncryptionRequestsAsDirect(t *testing.T) {
	pg15 := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true, HBA: []string{"local all " + lab.TrustUser + " trust"}})
	pg18 := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true, Version: 18})
	there := table(node("n1", pg15.Addr))
	t.Run("plain", func(t *testing.T) {
		s := newSite(t, plan{table: there, proxy: func(set *Settings) { set.TLS = nil }})
		s.opensAs(t, "unix", filepath.Join(pg15.SocketDir, ".s.PGSQL.5432"), "", "g", "s", "gs", "sg", "ss", "gg", "gsg", "gss", "sgs")
		// PostgreSQL answers first, and complains then; pgvip only complains.
		for steps, want := range map[string]string{"gx": "EFATAL08P01", "sx": "EFATAL08P01", "sgx": "NEFATAL08P01"} {
			if got := opened(t, "tcp", s.primary, steps); got != want {
				t.Errorf("%s: %s, want %s", steps, got, want)
			}
		}
	})
	t.Run("TLS", func(t *testing.T) {
		p := secured(t, certs.Write(t, "x"), tlsconf.Prefer)
		p.table = there
		s := newSite(t, p)
		s.opensAs(t, "tcp", pg15.Addr, "", "sT", "sTs", "sTg")
		s.opensAs(t, "tcp", pg18.Addr, "", "g", "gg", "sT", "gsT", "sTs", "sTg", "gsTs", "gsTg", "D")
		for _, test := range []struct{ steps, want, direct string }{
			{"gx", "EFATAL08P01", "NEFATAL08P01"},
			// PostgreSQL 18 has forgotten inside direct TLS that it has been asked, and
			// answers N. A client that asks there does not know what it is doing: pgvip
			// refuses, as both do behind an SSLRequest.
			{"Ds", "EFATAL0A000", "Nin"},
			{"Dg", "EFATAL0A000", "Nin"},
		} {
			got, direct := opened(t, "tcp", s.primary, test.steps), opened(t, "tcp", pg18.Addr, test.steps)
			if got != test.want || direct != test.direct {
				t.Errorf("%s: %s, want %s; PostgreSQL 18 says %s, which was %s", test.steps, got, test.want, direct, test.direct)
			}
		}
		if got := opened(t, "tcp", s.primary, "sx"); got != "EFATAL08P01" {
			t.Errorf("sx: %s, want a FATAL 08P01", got)
		}
	})
}

// opensAs holds the port for writes to how a PostgreSQL opens, see opened.
func (s *site) opensAs(t *testing.T, network, addr string, beginnings ...string) {
	t.Helper()
	for _, steps := range beginnings {
		if got, want := opened(t, "tcp", s.primary, steps), opened(t, network, addr, steps); got != want {
			t.Errorf("%s: %s, PostgreSQL says %s", steps, got, want)
		}
	}
}

// TestEncryptionRequestsBytewise: however a request comes in pieces, it is one.
func TestEncryptionRequestsBytewise(t *testing.T) {
	s := newSite(t, secured(t, certs.Write(t, "x"), tlsconf.Prefer))
	c := dialTo(t, s.primary)
	bytewise := func(b []byte) {
		for i := range b {
			c.send(b[i : i+1])
		}
	}
	bytewise(gssRequest)
	c.wants(t, 'N')
	bytewise(sslRequest)
	c.wants(t, 'S')
	if err := c.encrypt(new(tls.Config)); err != nil {
		t.Fatal(err)
	}
	bytewise(trusted())
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
}
