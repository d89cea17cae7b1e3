package main

import (
	"fmt"
	"math"
	"syscall"

	"github.com/pgvip/pgvip/config"
)

const (
	// ownDescriptors are those besides the settled clients and servers: clients
	// that are being authenticated (1024 at most), their sockets doubled while a
	// loop takes them over, listeners, etcd, probes, loops, and operators over HTTP
	// (128 at most).
	ownDescriptors = 1328

	// usualNodes is a guess at the size of the cluster, which is not known before
	// etcd has been asked.
	usualNodes = 3
)

// descriptorsNeeded gives how many descriptors pgvip may have open when every
// limit of the configuration is reached: one for each client and one for each
// server. Servers are bounded by their pools, and hardly outnumber the clients
// that they are lent to.
func descriptorsNeeded(c *config.Config, users int) uint64 {
	clients := uint64(c.MaxClientConn)
	var perUser uint64
	for _, d := range c.Databases { // "*" counts as one
		size := d.PoolSize.Or(c.DefaultPoolSize)
		switch {
		case d.Disabled:
		case size == 0:
			perUser += clients
		default:
			perUser += uint64(size + d.ReservePoolSize.Or(c.ReservePoolSize))
		}
	}
	names := uint64(users)
	if openToOthers(c) {
		names = clients // any name will do
	}
	return clients + min(perUser*names*usualNodes, clients) + ownDescriptors
}

// openToOthers reports whether users need not stand in the user list.
func openToOthers(c *config.Config) bool {
	return c.AuthType == config.AuthAny || looksUp(c)
}

// descriptorLimit gives RLIMIT_NOFILE. When it is read, Go has raised the soft
// limit to the hard one (less one, to know its own doing again).
func descriptorLimit() uint64 {
	var limit syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit) != nil {
		return math.MaxUint64 // nothing known, nothing to warn of
	}
	return limit.Cur
}

// descriptorWarning says that RLIMIT_NOFILE is below what the configuration may
// need; "" when it is not. At the limit clients are not accepted and servers not
// dialed, in the busiest moment there is.
func descriptorWarning(c *config.Config, users int, limit uint64) string {
	need := descriptorsNeeded(c, users)
	if need <= limit {
		return ""
	}
	return fmt.Sprintf("max_client_conn %d and the pools may need %d open files, RLIMIT_NOFILE allows %d:"+
		" raise LimitNOFILE in the unit file (ulimit -Hn in a shell) or lower max_client_conn",
		c.MaxClientConn, need, limit)
}
