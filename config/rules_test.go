package config

import (
	"strings"
	"testing"
	"time"
)

func TestOwnSettingsOfTheUserWinOverThoseOfTheDatabase(t *testing.T) {
	c := mustParse(t, minimal+`
pool_mode: transaction
default_pool_size: 7
query_timeout: 1m
databases:
  app: {dbname: app_v2, pool_mode: statement, pool_size: 3, server_lifetime: 5m}
  "*": {pool_size: 1, reserve_pool_size: 2}
users:
  report: {pool_mode: session, pool_size: 0, query_timeout: 0}
`)
	for _, tt := range []struct {
		database, user string
		want           Rules
	}{
		{"app", "report", Rules{Database: Database{DBName: "app_v2"}, PoolMode: PoolSession, PoolSize: 0, QueryTimeout: 0, ServerLifetime: 5 * time.Minute}},
		{"app", "other", Rules{Database: Database{DBName: "app_v2"}, PoolMode: PoolStatement, PoolSize: 3, QueryTimeout: time.Minute, ServerLifetime: 5 * time.Minute}},
		{"else", "other", Rules{Database: Database{DBName: "else"}, PoolMode: PoolTransaction, PoolSize: 1, ReservePoolSize: 2, QueryTimeout: time.Minute, ServerLifetime: time.Hour}},
	} {
		got := c.Rules(tt.database, tt.user)
		got = Rules{
			Database: Database{DBName: got.DBName}, PoolMode: got.PoolMode, PoolSize: got.PoolSize,
			ReservePoolSize: got.ReservePoolSize, QueryTimeout: got.QueryTimeout, ServerLifetime: got.ServerLifetime,
		}
		if got != tt.want {
			t.Errorf("Rules(%q, %q) = %+v, want %+v", tt.database, tt.user, got, tt.want)
		}
	}
}

// A default of an override that is not the setting of the top would change the
// top's meaning for every database.
func TestNothingOwnMeansTheSettingsOfTheTop(t *testing.T) {
	c := mustParse(t, strings.Split(everyKey, "databases:")[0])
	got := c.Rules("app", "somebody")
	want := Rules{
		Database: Database{DBName: "app"}, PoolMode: c.PoolMode, SessionState: c.SessionState,
		PoolSize: c.DefaultPoolSize, MinPoolSize: c.MinPoolSize, ReservePoolSize: c.ReservePoolSize,
		MaxDBConnections: c.MaxDBConnections, MaxDBClientConnections: c.MaxDBClientConnections,
		MaxUserConnections: c.MaxUserConnections, MaxUserClientConnections: c.MaxUserClientConnections,
		QueryWaitTimeout: c.QueryWaitTimeout, QueryTimeout: c.QueryTimeout, TransactionTimeout: c.TransactionTimeout,
		IdleTransactionTimeout: c.IdleTransactionTimeout, ClientIdleTimeout: c.ClientIdleTimeout, ClientWriteTimeout: c.ClientWriteTimeout,
		ServerLifetime: c.ServerLifetime, AuthUser: c.AuthUser, AuthQuery: c.AuthQuery, AuthDBName: c.AuthDBName,
	}
	if got != want {
		t.Errorf("Rules = %+v, want %+v", got, want)
	}
}
