package statement

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// world is the PostgreSQL that the tests of this package share. There is one,
// because a test function cannot be given arguments; TestMain ends it.
var world struct {
	mu sync.Mutex
	pg *lab.Postgres // guarded by mu
}

func TestMain(m *testing.M) {
	code := m.Run()
	if world.pg != nil {
		if err := world.pg.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "statement:", err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func postgres(t testing.TB) *lab.Postgres {
	t.Helper()
	lab.Require(t, lab.CheckInstalled)
	world.mu.Lock()
	defer world.mu.Unlock()
	if world.pg == nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		pg, err := lab.StartPostgres(ctx, lab.PostgresOptions{Parameters: map[string]string{"fsync": "off"}})
		if err != nil {
			t.Fatal(err)
		}
		world.pg = pg
	}
	return world.pg
}
