package proxy

import (
	"bytes"
	"net"
	"path/filepath"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// desk is a console that greets operators and keeps them.
type desk struct {
	mu        sync.Mutex
	operators []Operator // guarded by mu
	conns     []net.Conn // guarded by mu
	canceled  []uint32   // guarded by mu
}

// leaves closes the connections when the test ends, before its site looks for what
// was left behind.
func (d *desk) leaves(t *testing.T) {
	t.Cleanup(func() {
		for _, c := range d.conns {
			c.Close()
		}
	})
}

func (d *desk) console() Console {
	return Console{Databases: []string{"pgbouncer", "pgvip"}, Serve: d.serve, Cancel: d.cancel}
}

func (d *desk) serve(conn net.Conn, o Operator) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.operators = append(d.operators, o)
	d.conns = append(d.conns, conn)
	conn.Write(wire.AppendReadyForQuery(wire.AppendBackendKeyData(nil, o.ID, o.Key), 'I'))
}

func (d *desk) cancel(id uint32, key []byte) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, o := range d.operators {
		if o.ID == id && bytes.Equal(o.Key, key) {
			d.canceled = append(d.canceled, id)
			return true
		}
	}
	return false
}

// last is the operator who came last.
func (d *desk) last() Operator {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.operators) == 0 {
		return Operator{}
	}
	return d.operators[len(d.operators)-1]
}

func TestOperatorsAreHandedOver(t *testing.T) {
	d := new(desk)
	s := newSite(t, plan{console: d.console(), proxy: func(set *Settings) {
		set.AdminUsers, set.StatsUsers = []string{lab.TrustUser}, []string{"watcher"}
		set.MaxClientConn = 0 // nobody else may come in
	}, table: table(nil), users: `"` + lab.TrustUser + `" ""` + "\n" + `"watcher" ""` + "\n" + `"other" ""`})
	d.leaves(t)
	for _, tt := range []struct {
		user, database string
		code           string
		admin          bool
	}{
		{lab.TrustUser, "pgbouncer", "", true},
		{lab.TrustUser, "pgvip", "", true},
		{"watcher", "pgbouncer", "", false},
		{"other", "pgbouncer", "28000", false},
		{lab.TrustUser, lab.AppDatabase, "53300", false},
		{"pgbouncer", "pgbouncer", "28000", false}, // over TCP this is a user as any other
	} {
		t.Run(tt.user+"@"+tt.database, func(t *testing.T) {
			// A parameter that PostgreSQL would have to judge is none for the console.
			c, err := tryLogin(t, s.primary, "user", tt.user, "database", tt.database, "application_name", "shop", "extra_float_digits", "2", "options", "-c")
			if code(err) != tt.code {
				t.Fatalf("login: %v, want SQLSTATE %q", err, tt.code)
			}
			if tt.code != "" {
				return
			}
			o := d.last()
			if o.Admin != tt.admin || o.User != tt.user || o.AppName != "shop" {
				t.Errorf("operator %+v, want %q with admin %t", o, tt.user, tt.admin)
			}
			c.cancel(s.replica)
			d.mu.Lock()
			defer d.mu.Unlock()
			if n := len(d.canceled); n == 0 || d.canceled[n-1] != o.ID {
				t.Errorf("the cancel request did not arrive: %v", d.canceled)
			}
		})
	}
	eventually(t, "operators are not counted", func() bool { return s.proxy.Clients() == 0 })
}

// TestOperatorsProveThemselves: the lists say what a user may do, not who it is.
func TestOperatorsProveThemselves(t *testing.T) {
	d := new(desk)
	s := newSite(t, plan{console: d.console(), table: table(nil), users: `"boss" "right"`, proxy: func(set *Settings) {
		set.AuthMethod, set.AdminUsers = auth.Password, []string{"boss"}
	}})
	d.leaves(t)
	for password, want := range map[string]string{"right": "", "wrong": "28P01"} {
		c := dialTo(t, s.primary)
		c.send(pgscript.Startup("user", "boss", "database", "pgbouncer"))
		if _, ok := c.receive().(*pgproto3.AuthenticationCleartextPassword); !ok {
			t.Fatal("no password was asked for")
		}
		// A query behind the password, in the same segment, is not lost.
		c.send(wire.AppendPassword(nil, password), []byte("Q\x00\x00\x00\x05\x00"))
		if err := c.welcomed(); code(err) != want {
			t.Errorf("password %q: %v, want SQLSTATE %q", password, err, want)
		}
		if got := d.last().Unread; want == "" && string(got) != "Q\x00\x00\x00\x05\x00" {
			t.Errorf("unread = %q, want the query", got)
		}
	}
}

func TestOwnUserNeedsNoPassword(t *testing.T) {
	d := new(desk)
	s := newSite(t, plan{console: d.console(), table: table(nil), users: `"boss" "right"`, proxy: func(set *Settings) { set.AuthMethod = auth.Password }})
	d.leaves(t)
	path := filepath.Join(t.TempDir(), ".s.PGSQL.5000")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s.proxy.Serve(l, route.Primary)
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := &client{t: t, conn: conn, in: pgproto3.NewFrontend(conn, conn)}
	c.send(pgscript.Startup("user", "pgbouncer", "database", "pgbouncer"))
	if err := c.welcomed(); err != nil || !d.last().Admin {
		t.Errorf("login: %v, operator %+v, want an administrator", err, d.last())
	}
}
