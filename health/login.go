package health

import (
	"context"
	"slices"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/wire"
)

// PostgreSQL gives a Login that uses package dial. Address, and Network where it
// is empty, are set for each node; the rest of cfg says who the probe is.
func PostgreSQL(cfg dial.Config) Login {
	if cfg.Network == "" {
		cfg.Network = "tcp"
	}
	// So that the one in pg_stat_activity who asks again and again has a name.
	cfg.Params = append(slices.Clone(cfg.Params), wire.Param{Name: "application_name", Value: "pgvip probe"})
	return func(ctx context.Context, addr string) (Conn, error) {
		one := cfg
		one.Address = addr
		conn, err := dial.Login(ctx, &one)
		if err != nil {
			return nil, err
		}
		return probeConn{conn}, nil
	}
}

// probeConn is a dial.Conn that answers in plain text.
type probeConn struct {
	conn *dial.Conn
}

func (c probeConn) Query(ctx context.Context, sql string) ([][]string, error) {
	rows, err := c.conn.Query(ctx, sql)
	if err != nil {
		return nil, err
	}
	text := make([][]string, len(rows))
	for i, row := range rows {
		for _, v := range row {
			text[i] = append(text[i], v.Text) // empty when NULL
		}
	}
	return text, nil
}

func (c probeConn) Close() error { return c.conn.Close() }
