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
