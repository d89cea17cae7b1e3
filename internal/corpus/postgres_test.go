package corpus

import (
	"testing"

	"github.com/pgvip/pgvip/internal/lab"
)

// startPostgres runs a fresh PostgreSQL with the corpus database in it and
// returns how to reach it.
func startPostgres(tb testing.TB) Target {
	tb.Helper()
	pg := lab.StartPostgresT(tb, lab.PostgresOptions{})
	target := Target{Addr: pg.Addr, User: "corpus", Password: "corpus secret", Database: "corpus"}
	cluster, database := Setup(target)
	for _, sql := range cluster {
		if _, err := pg.SQL(tb.Context(), "postgres", sql); err != nil {
			tb.Fatal(err)
		}
	}
	for _, sql := range database {
		if _, err := pg.SQL(tb.Context(), target.Database, sql); err != nil {
			tb.Fatal(err)
		}
	}
	return target
}
