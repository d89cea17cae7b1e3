package stats

import "time"

// Traffic counts what went through a pool since it was made: the counters of
// PgBouncer's SHOW STATS, by the same meaning. The zero value is ready.
type Traffic struct {
	Assignments uint64 // servers that were lent
	Xacts       uint64 // transactions, single statements outside of one included
	Queries     uint64 // requests that ended in a ReadyForQuery
	Received    uint64 // bytes from clients
	Sent        uint64 // bytes to clients

	XactTime  time.Duration // from the first request of a transaction to its end
	QueryTime time.Duration // from a request to its ReadyForQuery
	WaitTime  time.Duration // of clients in queues

	ClientParses uint64 // prepared statements that clients asked for
	ServerParses uint64 // prepared statements that servers were given
	Binds        uint64 // executions of prepared statements
}

// Add adds what another counter has counted.
func (t *Traffic) Add(o *Traffic) {
	t.Assignments += o.Assignments
	t.Xacts += o.Xacts
	t.Queries += o.Queries
	t.Received += o.Received
	t.Sent += o.Sent
	t.XactTime += o.XactTime
	t.QueryTime += o.QueryTime
	t.WaitTime += o.WaitTime
	t.ClientParses += o.ClientParses
	t.ServerParses += o.ServerParses
	t.Binds += o.Binds
}

// Average gives what happened between an older reading and this one, as PgBouncer
// averages it: counts and bytes for a second, times for one transaction, query or
// assignment. Without a span of time everything is zero.
func (t *Traffic) Average(old *Traffic, span time.Duration) Traffic {
	if span <= 0 {
		return Traffic{}
	}
	rate := func(now, before uint64) uint64 {
		return uint64(float64(less(now, before)) / span.Seconds())
	}
	return Traffic{
		Assignments:  rate(t.Assignments, old.Assignments),
		Xacts:        rate(t.Xacts, old.Xacts),
		Queries:      rate(t.Queries, old.Queries),
		Received:     rate(t.Received, old.Received),
		Sent:         rate(t.Sent, old.Sent),
		XactTime:     each(t.XactTime-old.XactTime, less(t.Xacts, old.Xacts)),
		QueryTime:    each(t.QueryTime-old.QueryTime, less(t.Queries, old.Queries)),
		WaitTime:     each(t.WaitTime-old.WaitTime, less(t.Assignments, old.Assignments)),
		ClientParses: rate(t.ClientParses, old.ClientParses),
		ServerParses: rate(t.ServerParses, old.ServerParses),
		Binds:        rate(t.Binds, old.Binds),
	}
}

// less is the difference of two readings, 0 where the older one is larger.
func less(now, before uint64) uint64 { return now - min(now, before) }

// each is the share of one in a time that n of them took.
func each(total time.Duration, n uint64) time.Duration {
	if n == 0 {
		return 0
	}
	return max(total, 0) / time.Duration(n)
}
