package failover

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
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

// socketWatch is how long connections to an orphan are looked for.
const socketWatch = 1500 * time.Millisecond

// countSockets notes for each front how long after a moment it still had the
// connections to a node that it had then, those of its health checks apart. Cancel
// requests make new ones, which PostgreSQL closes when it has time; statements on
// new ones are found in the log.
func (run *run) countSockets(ctx context.Context, n *lab.Node, since time.Time) error {
	type sample struct {
		after time.Duration
		ports []int
	}
	samples := map[string][]sample{}
	for time.Since(since) < socketWatch {
		for _, f := range run.fronts {
			ports, err := connections(f.process.PID(), n.Postgres.Addr)
			if err != nil {
				return err
			}
			samples[f.name] = append(samples[f.name], sample{time.Since(since), ports})
		}
		if err := pause(ctx, 2*time.Millisecond); err != nil {
			return err
		}
	}
	// A check that has connected anew meanwhile is not told from a client: that
	// would be the wrong verdict on the safe side.
	text, err := n.Postgres.SQL(ctx, "postgres", "SELECT client_port FROM pg_stat_activity WHERE usename = '"+lab.ProbeUser+"'")
	if err != nil {
		return err
	}
	checks := strings.Fields(text)
	run.socketsGone = map[string]time.Duration{}
	for name, list := range samples {
		run.socketsGone[name] = 0
		for i, one := range list {
			open := slices.ContainsFunc(one.ports, func(p int) bool {
				return slices.Contains(list[0].ports, p) && !slices.Contains(checks, strconv.Itoa(p))
			})
			if open && i+1 < len(list) {
				run.socketsGone[name] = list[i+1].after
			} else if open {
				delete(run.socketsGone, name)
			}
		}
	}
	return nil
}

// connections gives the local ports of a process's established connections to an
// address.
func connections(pid int, addr string) ([]int, error) {
	table, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", pid))
	if err != nil {
		return nil, err
	}
	want, err := hexAddr(addr)
	if err != nil {
		return nil, err
	}
	inodes := map[string]int{}
	for line := range strings.Lines(string(table)) {
		const local, remote, state, inode = 1, 2, 3, 9
		fields := strings.Fields(line)
		if len(fields) > inode && fields[remote] == want && fields[state] == "01" {
			_, port, _ := strings.Cut(fields[local], ":")
			n, err := strconv.ParseInt(port, 16, 32)
			if err != nil {
				return nil, err
			}
			inodes["socket:["+fields[inode]+"]"] = int(n)
		}
	}
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		return nil, err
	}
	var open []int
	for _, fd := range fds {
		target, err := os.Readlink(fd)
		if port := inodes[target]; err == nil && port > 0 {
			open = append(open, port)
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
