package console

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/pgvip/pgvip/stats"
)

func poolColumns() []column {
	return join(columns(text, "database", "user"), columns(integer, "cl_active", "cl_waiting", "cl_active_cancel_req",
		"cl_waiting_cancel_req", "sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested",
		"sv_login", "maxwait", "maxwait_us"), columns(text, "pool_mode", "load_balance_hosts"),
		// Ours.
		columns(integer, "nodes"), columns(text, "wait_reason"))
}

// account names a row of SHOW POOLS. Monitoring takes database and user for the
// key of a row, so the pools that an account has on several nodes make one row;
// SHOW NODE_POOLS tells them apart.
type account struct{ database, user string }

// poolSum is one row of SHOW POOLS on its way.
type poolSum struct {
	stats.Pool
	clients int // all of them
	nodes   int
	reasons []string
}

func poolRows(ctx context.Context, s *session) ([]row, error) {
	pools, err := s.server.target.Pools(ctx)
	if err != nil {
		return nil, err
	}
	accounts, err := s.server.target.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	accounts = append(accounts, stats.Account{Database: adminDatabase, User: adminDatabase, Clients: len(s.server.sockets())})
	var rows []row
	for _, p := range sumPools(pools, accounts) {
		mode := p.Mode
		if p.Database == adminDatabase {
			mode = "statement"
		}
		rows = append(rows, row{
			p.Database, p.User, max(p.clients-p.Waiting, 0), p.Waiting, p.Canceling, 0,
			p.Lent, p.Canceling, p.Canceled, p.Idle, 0, p.Tested, p.Login,
			int(p.MaxWait / time.Second), int(p.MaxWait % time.Second / time.Microsecond), mode, nil,
			p.nodes, strings.Join(p.reasons, "; "),
		})
	}
	return rows, nil
}

// sumPools puts the pools of each account together with its clients.
func sumPools(pools []stats.Pool, accounts []stats.Account) []*poolSum {
	sums := map[account]*poolSum{}
	of := func(database, user string) *poolSum {
		sum := sums[account{database, user}]
		if sum == nil {
			sum = &poolSum{Pool: stats.Pool{Database: database, User: user}}
			sums[account{database, user}] = sum
		}
		return sum
	}
	for i := range pools {
		of(pools[i].Database, pools[i].User).add(&pools[i])
	}
	for _, a := range accounts {
		sum := of(a.Database, a.User)
		sum.clients += a.Clients
		sum.Waiting += a.Waiting
		sum.MaxWait = max(sum.MaxWait, a.MaxWait)
		if a.Waiting > 0 {
			sum.reasons = append(sum.reasons, "no node to go to")
		}
	}
	list := make([]*poolSum, 0, len(sums))
	for _, sum := range sums {
		list = append(list, sum)
	}
	slices.SortFunc(list, func(a, b *poolSum) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User))
	})
	return list
}

func (sum *poolSum) add(p *stats.Pool) {
	sum.nodes++
	sum.Mode = p.Mode
	sum.Lent += p.Lent
	sum.Idle += p.Idle
	sum.Tested += p.Tested
	sum.Login += p.Login
	sum.Canceling += p.Canceling
	sum.Canceled += p.Canceled
	sum.Waiting += p.Waiting
	sum.MaxWait = max(sum.MaxWait, p.MaxWait)
	if p.Reason != "" && !slices.Contains(sum.reasons, p.Reason) {
		sum.reasons = append(sum.reasons, p.Reason)
	}
}

func nodePoolColumns() []column {
	return join(columns(text, "node", "role", "addr", "database", "user"), columns(integer, "cl_waiting", "sv_active",
		"sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_tested", "sv_login", "maxwait", "maxwait_us"),
		columns(text, "pool_mode", "wait_reason"))
}

func nodePoolRows(ctx context.Context, s *session) ([]row, error) {
	pools, err := s.server.target.Pools(ctx)
	if err != nil {
		return nil, err
	}
	slices.SortFunc(pools, func(a, b stats.Pool) int {
		return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Role, b.Role),
			cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User))
	})
	var rows []row
	for _, p := range pools {
		rows = append(rows, row{
			p.Node, p.Role, p.Addr, p.Database, p.User, p.Waiting, p.Lent, p.Canceling, p.Canceled, p.Idle, p.Tested, p.Login,
			int(p.MaxWait / time.Second), int(p.MaxWait % time.Second / time.Microsecond), p.Mode, p.Reason,
		})
	}
	return rows, nil
}
