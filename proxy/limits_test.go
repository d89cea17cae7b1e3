package proxy

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// twoUsers is a user list with a second user, who is asked for nothing either.
const twoUsers = `"` + lab.TrustUser + `" ""` + "\n" + `"` + lab.AppUser + `" "` + lab.AppPassword + `"`

// TestClientLimits: those of a database and of a user hold for these alone, say
// their names, and free their places.
func TestClientLimits(t *testing.T) {
	for _, test := range []struct {
		name         string
		rules        Rules
		same, others []string // startup parameters
	}{
		{"max_db_client_connections", Rules{MaxDBClientConnections: 2}, []string{"user", lab.AppUser}, []string{"database", "postgres"}},
		{"max_user_client_connections", Rules{MaxUserClientConnections: 2}, []string{"database", "postgres"}, []string{"user", lab.AppUser}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, plan{users: twoUsers, proxy: func(set *Settings) {
				set.RulesFor = func(database, user string) Rules {
					if database == lab.AppDatabase && test.rules.MaxDBClientConnections > 0 || user == lab.TrustUser {
						return test.rules
					}
					return Rules{}
				}
			}})
			login(t, s.primary)
			second := login(t, s.primary, test.same...)
			for range 2 {
				_, err := tryLogin(t, s.primary)
				if code(err) != "53300" || !strings.Contains(err.Error(), test.name) {
					t.Errorf("third client: %v, want 53300 naming %s", err, test.name)
				}
			}
			login(t, s.primary, test.others...)
			second.leave()
			eventually(t, "the place is free", func() bool { return s.proxy.Clients() == 2 })
			login(t, s.primary)
		})
	}
}

// TestClientLimitsAtOnce: of many who come at the same time, exactly as many get
// in as the limit says.
func TestClientLimitsAtOnce(t *testing.T) {
	s := newSite(t, plan{loops: 2, proxy: func(set *Settings) {
		set.RulesFor = func(string, string) Rules { return Rules{MaxUserClientConnections: 5} }
	}})
	login(t, s.primary).leave() // the welcome is known
	eventually(t, "it has left", func() bool { return s.proxy.Clients() == 0 })
	var in, out atomic.Int32
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			switch _, err := tryLogin(t, s.primary); {
			case err == nil:
				in.Add(1)
			case code(err) == "53300":
				out.Add(1)
			}
		})
	}
	all.Wait()
	if in.Load() != 5 || out.Load() != 15 {
		t.Errorf("%d got in and %d were refused, want 5 and 15", in.Load(), out.Load())
	}
}

// TestStrangersTakeNoPlaces: who has not proved who it is cannot keep a user out,
// and who has sent nothing is no client yet.
func TestStrangersTakeNoPlaces(t *testing.T) {
	s := newSite(t, plan{users: twoUsers, proxy: func(set *Settings) {
		set.AuthMethod = auth.Password
		set.MaxClientConn = 2
		set.RulesFor = func(string, string) Rules { return Rules{MaxUserClientConnections: 1} }
	}})
	dialTo(t, s.primary)
	dialTo(t, s.primary).send([]byte{0, 0})
	stranger := dialTo(t, s.primary)
	stranger.send(pgscript.Startup("user", lab.AppUser, "database", lab.AppDatabase))
	stranger.receive() // the request for a password
	c := dialTo(t, s.primary)
	c.send(pgscript.Startup("user", lab.AppUser, "database", lab.AppDatabase))
	c.receive()
	c.send(pgscript.Message('p', []byte(lab.AppPassword+"\x00")))
	if err := c.welcomed(); err != nil {
		t.Errorf("login: %v", err)
	}
}

// watch counts the server connections until the test ends, and fails when there
// are more than limit at PostgreSQL.
func (d *database) watch(t *testing.T, limit int) (stop func()) {
	done := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if n := d.backends(t); len(n) > 1 || n > string(rune('0'+limit)) {
				t.Errorf("%s server connections, want at most %d", n, limit)
				return
			}
		}
	})
	return func() {
		close(done)
		watching.Wait()
	}
}

// TestSharedServerLimits: max_db_connections and max_user_connections hold at
// PostgreSQL itself, though pools on two loops want more, and every client is
// served: idle servers of one pool make room for another (pgbouncer #103, #131).
func TestSharedServerLimits(t *testing.T) {
	pg := postgres(t, 0)
	for _, test := range []struct {
		name  string
		limit func(*pool.Rules)
		other []string
	}{
		{"max_db_connections", func(r *pool.Rules) { r.MaxDBConnections = 3 }, []string{"user", lab.AppUser}},
		{"max_user_connections", func(r *pool.Rules) { r.MaxUserConnections = 3 }, []string{"database", "postgres"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t, plan{loops: 2, users: twoUsers, pool: func(set *pool.Settings) {
				set.PoolSize = 3
				test.limit(&set.Rules)
			}})
			stop := pg.watch(t, 3)
			defer stop()
			var all sync.WaitGroup
			for i := range 12 {
				var who []string
				if i%2 == 1 {
					who = test.other
				}
				all.Go(func() {
					for range 4 {
						c := login(t, s.primary, who...)
						c.exec("SELECT pg_sleep(0.01)")
						c.leave()
					}
				})
			}
			all.Wait()
		})
	}
}

// TestSharedServerLimitIsSaid to who has waited for too long.
func TestSharedServerLimitIsSaid(t *testing.T) {
	s := newSite(t, plan{users: twoUsers, pool: func(set *pool.Settings) {
		set.PoolSize, set.MaxDBConnections, set.QueryWaitTimeout = 3, 1, 100*time.Millisecond
	}})
	other := login(t, s.primary, "user", lab.AppUser)
	login(t, s.primary).exec("SELECT 1")
	if r := other.query("SELECT 1"); r.state() != "57P03" || !strings.Contains(r.err.Hint, "max_db_connections") {
		t.Errorf("got %+v, want 57P03 naming max_db_connections", r.err)
	}
}

// TestMinPoolSizeOfAClient: a client that has asked for nothing yet makes its pool
// warm.
func TestMinPoolSizeOfAClient(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{pool: func(set *pool.Settings) {
		set.PoolSize, set.MinPoolSize, set.ServerIdleTimeout = 5, 3, 10*time.Millisecond
	}})
	c := login(t, s.primary)
	eventually(t, "the pool is warm", func() bool { return pg.backends(t) == "3" })
	c.leave()
	eventually(t, "it cools down", func() bool { return pg.backends(t) == "0" })
}
