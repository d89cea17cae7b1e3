package failover

import (
	"context"
	"os"
	"regexp"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// fenceLimit is how long after the event a fenced node may get bytes (rule 23).
const fenceLimit = 100 * time.Millisecond

// shun is a node that nobody must be led to for a time.
type shun struct {
	node         *lab.Node
	since, until time.Time
	// stay says that sessions which have a server there may keep it: they are not
	// led there.
	stay bool
}

// violates gives a test for visits of a front to the node.
func (s shun) violates(f *front) func(visit) bool {
	return func(v visit) bool {
		begins := v.began
		if s.stay && f.ownServers() {
			begins = v.connected
		}
		return v.host == s.node.Postgres.Host && begins.After(s.since.Add(listNotice)) && begins.Before(s.until)
	}
}

// avoided counts the answers that came from a shunned node, on either port.
func avoided(run *run, f *front, r *Result) {
	for _, s := range run.shunned {
		n := count(f.visits.all, s.violates(f))
		if n > 0 {
			r.WrongNode += n
			r.fall("%d answers from %s", n, s.node.Name)
		}
	}
}

// logStatements makes the leader log all statements of its clients, or none.
func (run *run) logStatements(ctx context.Context, on bool) error {
	run.orphanLog = run.leader.Postgres.LogPath()
	value := "none"
	if on {
		value = "all"
	}
	for _, sql := range []string{
		"ALTER SYSTEM SET log_statement = '" + value + "'",
		"SELECT pg_reload_conf()",
	} {
		if _, err := run.leader.Postgres.SQL(ctx, "postgres", sql); err != nil {
			return err
		}
	}
	return nil
}

// orphanIsLeft: neither a statement reaches the orphan nor does a connection to
// it live longer than allowed after the leader key was gone.
func orphanIsLeft(run *run, f *front, r *Result) {
	last, n, err := run.statementsAfter(f, run.down.Add(fenceLimit))
	if err != nil || last.IsZero() {
		r.fall("the orphan's log shows no statement: %v", err) // so it would show no late one either
	}
	r.more("last_statement_ms", milliseconds(last, run.down))
	if n > 0 {
		r.WrongNode += n
		r.fall("%d statements reached the orphan later than %v after the key", n, fenceLimit)
	}
	closed, ok := run.socketsGone[f.name]
	if !ok {
		r.fall("connections to the orphan were still open %v after the key", socketWatch)
		return
	}
	r.more("sockets_ms", closed.Milliseconds())
	if closed > fenceLimit && !f.rival() {
		r.fall("connections to the orphan were open for %v", closed.Round(time.Millisecond))
	}
}

func milliseconds(at, since time.Time) any {
	if at.IsZero() {
		return "na"
	}
	return at.Sub(since).Milliseconds()
}

// statement is a line of PostgreSQL's log, in the form of the lab's
// log_line_prefix, that holds a front's INSERT.
func statementOf(front string) *regexp.Regexp {
	return regexp.MustCompile(`(?m)^(\S+ \S+) \S+ \[\d+\] .*INSERT INTO failover_ledger VALUES \('` + front + `'`)
}

// statementsAfter looks into the leader's log: when the last of a front's
// statements came, and how many came after a moment.
func (run *run) statementsAfter(f *front, limit time.Time) (last time.Time, n int, err error) {
	text, err := os.ReadFile(run.orphanLog)
	if err != nil {
		return last, 0, err
	}
	for _, m := range statementOf(f.name).FindAllSubmatch(text, -1) {
		at, err := time.Parse("2006-01-02 15:04:05.000", string(m[1]))
		if err != nil {
			return last, n, err
		}
		last = at
		if at.After(limit) {
			n++
		}
	}
	return last, n, nil
}
