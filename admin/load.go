package admin

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pgvip/pgvip/stats"
)

// Load is what only the event loops know.
type Load struct {
	Pools     []stats.Pool
	Accounts  []stats.Account
	Crowds    []stats.Crowd
	Traffic   []Volume
	Databases []Database // of the configuration, and in use; without their traffic
	ByServer  []ServerVolume
}

// Volume is what a database's pools have counted since the start.
type Volume struct {
	Database string
	Traffic  stats.Traffic
	Query    stats.Histogram
	Xact     stats.Histogram
	Wait     stats.Histogram
}

// ServerVolume is what went through one server's pools since the start.
type ServerVolume struct {
	Server, Role string
	Traffic      stats.Traffic
}

// add puts what the loops said into a view that nobody else has. l is not changed.
func (v *View) add(l *Load) {
	v.Databases = slices.Clone(l.Databases)
	for i := range l.Pools {
		v.addPool(&l.Pools[i])
	}
	for _, c := range l.Crowds {
		if p := v.port(c.Role); p != nil {
			p.Clients += c.Clients
			p.Waiting += c.Waiting
			p.MaxWait = max(p.MaxWait, c.MaxWait.Seconds())
		}
	}
	for i := range l.ByServer {
		if u := v.use(l.ByServer[i].Server, l.ByServer[i].Role); u != nil {
			t := &l.ByServer[i].Traffic
			u.Assignments, u.Received, u.Sent = t.Assignments, t.Received, t.Sent
		}
	}
	for i := range l.Traffic {
		v.addVolume(&l.Traffic[i])
	}
	v.Pools = sumPools(l)
	for i := range v.Pools {
		p := &v.Pools[i]
		if d := v.database(p.Database); d != nil {
			d.Conns += p.Active + p.Idle + p.Tested + p.Login
			d.Clients += p.ClActive + p.Waiting
		}
	}
}

func (v *View) addPool(p *stats.Pool) {
	if u := v.use(p.Node, p.Role); u != nil {
		u.Active += p.Lent
		u.Idle += p.Idle
		u.Testing += p.Tested
		u.Login += p.Login
		u.Waiting += p.Waiting
		u.MaxWait = max(u.MaxWait, p.MaxWait.Seconds())
	}
	if port := v.port(p.Role); port != nil {
		port.Waiting += p.Waiting
		port.MaxWait = max(port.MaxWait, p.MaxWait.Seconds())
	}
}

// use finds what a role's clients do with a server; nil for one that has left.
func (v *View) use(server, role string) *Use {
	for i := range v.Servers {
		switch s := &v.Servers[i]; {
		case s.Name != server:
		case role == rolePrimary:
			return &s.Primary
		default:
			return &s.Replica
		}
	}
	return nil
}

// The roles of ports, as route prints them.
const (
	rolePrimary = "primary"
	roleReplica = "replica"
)

func (v *View) port(role string) *Port {
	for i := range v.Ports {
		if v.Ports[i].Role == role {
			return &v.Ports[i]
		}
	}
	return nil
}

func (v *View) database(name string) *Database {
	for i := range v.Databases {
		if v.Databases[i].Name == name {
			return &v.Databases[i]
		}
	}
	return nil
}

func (v *View) addVolume(o *Volume) {
	d := v.database(o.Database)
	if d == nil {
		return // it has left between two questions to the loops
	}
	t := &o.Traffic
	d.Traffic = Traffic{
		Xacts: t.Xacts, Queries: t.Queries, Assignments: t.Assignments, Received: t.Received, Sent: t.Sent,
		XactTime: t.XactTime.Seconds(), QueryTime: t.QueryTime.Seconds(), WaitTime: t.WaitTime.Seconds(),
		ClientParses: t.ClientParses, ServerParses: t.ServerParses, Binds: t.Binds,
		QueryP50: o.Query.Quantile(0.5).Seconds(), QueryP99: o.Query.Quantile(0.99).Seconds(), WaitP99: o.Wait.Quantile(0.99).Seconds(),
		query: &o.Query, xact: &o.Xact, wait: &o.Wait,
	}
}

// sumPools makes PgBouncer's rows: one for each database and user, whatever
// servers its pools are on.
func sumPools(l *Load) []Pool {
	type key struct{ database, user string }
	rows := map[key]*Pool{}
	of := func(database, user string) *Pool {
		k := key{database, user}
		if rows[k] == nil {
			rows[k] = &Pool{Database: database, User: user}
		}
		return rows[k]
	}
	reasons := map[*Pool][]string{}
	for i := range l.Pools {
		p := &l.Pools[i]
		r := of(p.Database, p.User)
		r.sum(p)
		if p.Reason != "" && !slices.Contains(reasons[r], p.Reason) {
			reasons[r] = append(reasons[r], p.Reason)
		}
	}
	for i := range l.Accounts {
		a := &l.Accounts[i]
		r := of(a.Database, a.User)
		r.Waiting += a.Waiting
		r.MaxWait = max(r.MaxWait, a.MaxWait.Seconds())
		r.ClActive = max(a.Clients-r.Waiting, 0)
		if a.Waiting > 0 {
			reasons[r] = append(reasons[r], "There is no server to go to.")
		}
	}
	list := make([]Pool, 0, len(rows))
	for _, r := range rows {
		r.Reason = strings.Join(reasons[r], " ")
		list = append(list, *r)
	}
	slices.SortFunc(list, func(a, b Pool) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User))
	})
	return list
}

func (r *Pool) sum(p *stats.Pool) {
	r.Mode = p.Mode
	r.Waiting += p.Waiting
	r.Cancel += p.Canceling
	r.Canceled += p.Canceled
	r.Active += p.Lent
	r.Idle += p.Idle
	r.Tested += p.Tested
	r.Login += p.Login
	r.MaxWait = max(r.MaxWait, p.MaxWait.Seconds())
}

// seconds gives the age of something at now, -1 when it has never been.
func seconds(now, at time.Time) float64 {
	if at.IsZero() {
		return -1
	}
	return max(now.Sub(at), 0).Seconds()
}
