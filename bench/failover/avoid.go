package failover

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// fenceLimit is how long after the event a fenced node may get bytes (rule 23).
const fenceLimit = 100 * time.Millisecond

// shun is a node that must not be reached any more from a moment on.
type shun struct {
	node  *lab.Node
	since time.Time
}

// avoid notes such a node for the check "avoided".
func (run *run) avoid(n *lab.Node, since time.Time) {
	run.shunned = append(run.shunned, shun{n, since})
}

// avoided counts the answers that came from a shunned node, on either port.
func avoided(run *run, f *front, r *Result) {
	for _, s := range run.shunned {
		n := count(f.visits.all, func(v visit) bool {
			return v.host == s.node.Postgres.Host && v.began.After(s.since.Add(fenceLimit))
		})
		if n > 0 {
			r.WrongNode += n
			r.fall("%d answers from %s", n, s.node.Name)
		}
	}
}

// logStatements makes the leader log all statements of its clients, or none.
func (run *run) logStatements(ctx context.Context, on bool) error {
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
	last, n := run.statementsAfter(f, run.down.Add(fenceLimit))
	r.more("last_statement_ms", milliseconds(last, run.down))
	if n > 0 {
		r.WrongNode += n
		r.fall("%d statements reached the orphan later than %v after the key", n, fenceLimit)
	}
	closed, ok := run.socketsGone[f.name]
	if !ok {
		r.fall("connections to the orphan were still open 2 s after the key")
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
func (run *run) statementsAfter(f *front, limit time.Time) (last time.Time, n int) {
	text, err := os.ReadFile(run.leader.Postgres.LogPath())
	if err != nil {
		return last, 0
	}
	for _, m := range statementOf(f.name).FindAllSubmatch(text, -1) {
		at, err := time.Parse("2006-01-02 15:04:05.000", string(m[1]))
		if err != nil {
			continue
		}
		last = at
		if at.After(limit) {
			n++
		}
	}
	return last, n
}

// countSockets notes for each front how long after a moment it still had
// connections to a node.
func (run *run) countSockets(ctx context.Context, n *lab.Node, since time.Time) {
	run.socketsGone = map[string]time.Duration{}
	for time.Since(since) < 2*time.Second && len(run.socketsGone) < len(run.fronts) {
		for _, f := range run.fronts {
			if _, ok := run.socketsGone[f.name]; ok {
				continue
			}
			if open, err := connections(f.process.PID(), n.Postgres.Addr); err == nil && open == 0 {
				run.socketsGone[f.name] = time.Since(since)
			}
		}
		if pause(ctx, 2*time.Millisecond) != nil {
			return
		}
	}
}

// connections counts the established connections of a process to an address.
func connections(pid int, addr string) (int, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return 0, err
	}
	want, err := hexAddr(addr)
	if err != nil {
		return 0, err
	}
	inodes := map[string]bool{}
	for line := range strings.Lines(string(table)) {
		const remote, state, inode = 2, 3, 9
		fields := strings.Fields(line)
		if len(fields) > inode && fields[remote] == want && fields[state] == "01" {
			inodes["socket:["+fields[inode]+"]"] = true
		}
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return 0, err
	}
	open := 0
	for _, fd := range fds {
		if target, err := os.Readlink(fd); err == nil && inodes[target] {
			open++
		}
	}
	return open, nil
}

// hexAddr writes host:port as /proc/net/tcp does: the address as a number of
// this machine's byte order, which is little-endian on all that we run on.
func hexAddr(addr string) (string, error) {
	host, port, _ := strings.Cut(addr, ":")
	n, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	var b [4]byte
	if _, err := fmt.Sscanf(host, "%d.%d.%d.%d", &b[0], &b[1], &b[2], &b[3]); err != nil {
		return "", err
	}
	return fmt.Sprintf("%02X%02X%02X%02X:%04X", b[3], b[2], b[1], b[0], n), nil
}
