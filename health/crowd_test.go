package health

import (
	"fmt"
	"testing"
	"time"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/internal/lab"
)

// TestCrowd: both a role with pg_monitor and one without rights count the clients.
func TestCrowd(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{Parameters: map[string]string{"max_connections": "40", "superuser_reserved_connections": "4"}})
	const others = 3
	for range others {
		conn, err := dial.Login(t.Context(), &dial.Config{Network: "tcp", Address: pg.Addr, User: lab.AppUser, Database: lab.AppDatabase,
			Credential: auth.Credential{Password: lab.AppPassword}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
	}
	for name, cfg := range map[string]dial.Config{
		"pg_monitor": {User: lab.ProbeUser, Database: "postgres", Credential: auth.Credential{Password: lab.ProbePassword}},
		"no rights":  {User: lab.TrustUser, Database: "postgres"},
	} {
		t.Run(name, func(t *testing.T) {
			seen := make(chan string, 1)
			m := NewMonitor(Config{Login: PostgreSQL(cfg), Crowd: func(addr string, c Crowd) { seen <- fmt.Sprint(addr, c) }})
			defer m.Close()
			m.Watch([]Target{{Name: "pg1", Addr: pg.Addr}})
			want := fmt.Sprint(pg.Addr, Crowd{Usable: 36, Backends: others + 1})
			for deadline := time.After(20 * time.Second); ; {
				select {
				case got := <-seen:
					if got == want {
						return
					}
					// A backend outlives its connection by a moment, here that of the
					// row before: a new probe counts again.
					t.Logf("counted %s", got)
					m.Watch(nil)
					m.Watch([]Target{{Name: "pg1", Addr: pg.Addr}})
				case <-deadline:
					t.Fatalf("never counted %s", want)
				}
			}
		})
	}
}
