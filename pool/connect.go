package pool

import (
	"context"
	"errors"
	"slices"
	"strings"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/wire"
)

// withDefaults adds to a startup packet's parameters those of the database that
// the client has not said itself.
func withDefaults(params, defaults []wire.Param) []wire.Param {
	all := slices.Clone(params)
	for _, d := range defaults {
		// PostgreSQL reads options first and from the left, so that in front of
		// them a default stands behind all that the client says.
		if i := slices.IndexFunc(all, func(p wire.Param) bool { return p.Name == "options" }); i >= 0 {
			all[i].Value = "-c " + d.Name + "=" + optionEscape(d.Value) + " " + all[i].Value
			continue
		}
		if !slices.ContainsFunc(params, func(p wire.Param) bool { return strings.EqualFold(p.Name, d.Name) }) {
			all = append(all, d)
		}
	}
	return all
}

// optionEscape makes a value one word of options.
func optionEscape(value string) string {
	return strings.NewReplacer(`\`, `\\`, " ", `\ `, "\t", "\\\t", "\n", "\\\n").Replace(value)
}

// connectQuery runs connect_query. An error in it is the operator's to read, and
// no client's: as with PgBouncer, the server is used all the same.
func (p *Pool) connectQuery(ctx context.Context, conn *dial.Conn, sql string) error {
	ctx, cancel := limited(ctx, p.set.settings.Load().ServerConnectTimeout)
	defer cancel()
	pid, key := conn.BackendKey()
	_, err := conn.Query(ctx, sql)
	if ctx.Err() != nil && key != nil {
		p.deliver(pid, key, conn.TLS() != nil, func(bool) {}) // as in choreHangs
	}
	var refusal *wire.Error
	if errors.As(err, &refusal) && !refusal.Fatal() {
		p.log.Warn("connect_query failed", zap.String("code", refusal.Code), zap.String("message", refusal.Message))
		return nil
	}
	return err
}
