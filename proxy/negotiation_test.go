package proxy

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/tlsconf"
	"github.com/pgvip/pgvip/wire"
)

// TestNegotiationComesOnce: with an exchange of passwords, a lookup of the user and
// the console, as with PostgreSQL 18 itself.
func TestNegotiationComesOnce(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: inTLS(), Version: 18})
	verifier, err := pg.Verifier(t.Context(), lab.AppUser)
	if err != nil {
		t.Fatal(err)
	}
	d := new(desk)
	listed := plan{table: table(node("n1", pg.Addr)), console: d.console(),
		users: `"` + lab.AppUser + `" "` + verifier + `"` + "\n" + `"` + lab.TrustUser + `" ""`,
		proxy: func(set *Settings) {
			set.HBA = hbaOf(t, "host all "+lab.AppUser+" all scram-sha-256\nhost all all all trust", "")
			set.AdminUsers = []string{lab.TrustUser}
		}}
	asking := asking(auth.SCRAM, functionQuery())
	asking.table = listed.table
	usual := []string{"_pq_.test_protocol_negotiation", ""}
	for _, test := range []struct {
		name   string
		plan   plan
		params [][]string
	}{
		{"listed", listed, [][]string{usual, append(usual[:2:2], "database", "pgbouncer"), append(usual[:2:2], "user", lab.AppUser)}},
		{"looked up", asking, [][]string{append(usual[:2:2], "user", lab.AppUser)}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, test.plan)
			d.leaves(t)
			for _, version := range []uint32{3<<16 | 2, 3<<16 | 3, 3<<16 | 9999} {
				for _, params := range test.params {
					direct := params
					if params[len(params)-1] == "pgbouncer" {
						direct = usual
					}
					got, want := negotiated(t, s.primary, startupOf(version, params...)), negotiated(t, pg.Addr, startupOf(version, direct...))
					if got != want || strings.Count(want, "v[") != 1 {
						t.Errorf("%#x %q: got %q, want %q", version, params, got, want)
					}
				}
			}
		})
	}
}

// TestNegotiationOfReplication: a login for replication is told once too, though its
// server says its own welcome.
func TestNegotiationOfReplication(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: inTLS(), Version: 18})
	p := replicas(nil)
	p.table = table(node("n1", pg.Addr))
	s := newSite(t, p)
	for _, version := range []uint32{3 << 16, 3<<16 | 2, 3<<16 | 3, 3<<16 | 9999} {
		for _, value := range []string{"true", "database"} {
			packet := startupOf(version, "user", lab.Superuser, "replication", value, "_pq_.test_protocol_negotiation", "")
			got, want := negotiated(t, s.primary, packet), negotiated(t, pg.Addr, packet)
			if got != want || strings.Count(want, "v[") != 1 || !strings.HasSuffix(want, "Z") {
				t.Errorf("%#x, replication=%s: got %q, want %q", version, value, got, want)
			}
		}
	}
}

// TestCancelOnPostgreSQL18: a session of protocol 3.2 is cancelled by its key of 32
// bytes, on servers that have TLS by a request or not at all, and on those where both
// session and request begin with it (sslnegotiation=direct).
func TestCancelOnPostgreSQL18(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{TLS: true, Version: 18})
	direct, err := tlsconf.Connecting(tlsconf.Options{Mode: tlsconf.VerifyCA, CAFile: pg.CAFile}, true)
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*pool.Settings){
		"usual":  func(*pool.Settings) {},
		"direct": func(set *pool.Settings) { set.TLS = direct },
	} {
		t.Run(name, func(t *testing.T) {
			inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
				r := newRelay(t, pg.Addr)
				s := newSite(t, plan{table: table(node("n1", r.addr)), pool: func(set *pool.Settings) { mode(set); change(set) }})
				c := loginWith(t, s.primary, wire.ProtocolVersion32)
				if len(c.key) != 32 {
					t.Fatalf("a key of %d bytes, want 32", len(c.key))
				}
				backend := c.value("SELECT pg_backend_pid()")
				before := len(r.beginnings())
				c.send(pgscript.Query("SELECT pg_sleep(600)"))
				sleepingAt(t, pg)
				c.cancel(s.primary)
				if answer := c.answer(); answer.state() != "57014" {
					t.Errorf("got %q %v, want 57014", answer.types, answer.err)
				}
				if got := c.value("SELECT pg_backend_pid()"); got != backend {
					t.Errorf("afterwards: server %s, want %s", got, backend)
				}
				begun := r.beginnings()
				if len(begun) != before+1 {
					t.Errorf("%d connections for the request, want 1", len(begun)-before)
				}
				for i, b := range begun {
					if (b[0] == recordHandshake) != (name == "direct") {
						t.Errorf("connection %d begins with %x", i, b)
					}
				}
			})
		})
	}
}

// negotiated is what a login says, its parameters aside: negotiations with their
// bodies, requests, the length of the key. A password is refused.
func negotiated(t *testing.T, addr string, packet []byte) string {
	t.Helper()
	c := reach(t, addr)
	c.send(packet)
	var said strings.Builder
	for {
		m, err := c.tryReceive()
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Error(err)
			}
			return said.String()
		}
		switch m := m.(type) {
		case *pgproto3.NegotiateProtocolVersion:
			b, _ := m.Encode(nil)
			said.WriteString("v[" + string(b[5:]) + "]")
		case *pgproto3.AuthenticationSASL:
			said.WriteString("R")
			c.send(initial("SCRAM-SHA-256", clientFirst))
		case *pgproto3.AuthenticationSASLContinue:
			said.WriteString("R")
			nonce, _, _ := strings.Cut(string(m.Data), ",")
			c.send(pgscript.Message('p', []byte("c=biws,"+nonce+someProof)))
		case *pgproto3.BackendKeyData:
			said.WriteString(strings.Repeat("k", len(m.SecretKey)))
		case *pgproto3.ParameterStatus:
		case *pgproto3.ErrorResponse:
			said.WriteString(m.Code)
		case *pgproto3.ReadyForQuery:
			c.leave()
			return said.String() + "Z"
		default:
			said.WriteString(typeOf(m))
		}
	}
}
