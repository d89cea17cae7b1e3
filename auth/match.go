package auth

import (
	"net/netip"

	"github.com/pgvip/pgvip/wire"
)

// nameSet is the databases or users of a rule.
type nameSet struct {
	all         bool
	sameUser    bool // the database that is called as the user
	replication bool // physical replication, which has no database
	names       map[string]bool
}

// Connection is what a rule is chosen by.
type Connection struct {
	Address     netip.Addr // of the client; not valid on a Unix socket
	Encrypted   bool       // by TLS
	Replication bool       // physical: logical replication has a database and counts as one
	Database    string
	User        string
}

// Match returns the first rule for c.
func (h *HBA) Match(c Connection) (Rule, bool) {
	for _, r := range h.rules {
		if r.comesFrom(c) && r.wants(c) {
			return r, true
		}
	}
	return Rule{}, false
}

func (r *Rule) comesFrom(c Connection) bool {
	switch {
	case !c.Address.IsValid() || r.kind == kindLocal:
		return !c.Address.IsValid() && r.kind == kindLocal
	case r.kind == kindHostSSL && !c.Encrypted, r.kind == kindHostNoSSL && c.Encrypted:
		return false
	}
	// A client that came by IPv4 to a socket for both has a mapped address.
	return r.anywhere || r.network.Contains(c.Address.Unmap().WithZone(""))
}

func (r *Rule) wants(c Connection) bool {
	if !r.users.all && !r.users.names[c.User] {
		return false
	}
	d := &r.databases
	if c.Replication {
		return d.replication // as in PostgreSQL, "all" does not include it
	}
	return d.all || d.names[c.Database] || d.sameUser && c.Database == c.User
}

// NoEntry is the error for a client that no rule matches, in PostgreSQL's words.
func (c Connection) NoEntry() *wire.Error {
	if c.Replication {
		return c.refused("no pg_hba.conf entry for replication connection from")
	}
	return c.refused("no pg_hba.conf entry for")
}

// Rejected is the error for a client whom a rule rejects.
func (c Connection) Rejected() *wire.Error {
	if c.Replication {
		return c.refused("pg_hba.conf rejects replication connection for")
	}
	return c.refused("pg_hba.conf rejects connection for")
}

func (c Connection) refused(what string) *wire.Error {
	host, encryption := "[local]", "no encryption"
	if c.Address.IsValid() {
		host = c.Address.Unmap().String()
	}
	if c.Encrypted {
		encryption = "SSL encryption"
	}
	database := `, database "` + c.Database + `"`
	if c.Replication {
		database = ""
	}
	return wire.Fatal(wire.CodeInvalidAuthorization,
		what+` host "`+host+`", user "`+c.User+`"`+database+", "+encryption,
		"The file meant is auth_hba_file of pgvip.")
}
