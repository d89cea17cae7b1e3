package health

import "context"

// Conn is a logged-in connection to one node, used by one goroutine.
type Conn interface {
	// Query runs one statement and gives its rows as text; NULL is empty. It
	// returns by ctx's deadline; after an error other than a *wire.Error the
	// connection is good for nothing but Close.
	Query(ctx context.Context, sql string) ([][]string, error)
	Close() error
}

// Login dials and logs in the probe's user. Its error is a *wire.Error when the
// server sent one.
type Login func(ctx context.Context, addr string) (Conn, error)
