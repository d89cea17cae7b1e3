package failover

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

const (
	// socketWatch is how long connections to an orphan are looked for.
	socketWatch = 1500 * time.Millisecond
	// socketPace is how often before the event, which takes a lease's time to come;
	// afterwards it is as often as it goes.
	socketPace = 20 * time.Millisecond
)

// sample is the local ports of a front's connections to a node at a moment.
type sample struct {
	at    time.Time
	ports []int
}

// countSockets waits for the end of the leader key, and notes for each front how
// long afterwards it still had the connections to a node that it had before,
// those of its health checks apart.
func (run *run) countSockets(ctx context.Context, n *lab.Node) error {
	checks, err := checksOf(ctx, n)
	if err != nil {
		return err
	}
	samples := map[string][]sample{}
	for {
		e, gone := run.watcher.seen(run.fault, leaderGone)
		if run.down = e.at; gone && time.Since(e.at) > socketWatch {
			break
		}
		for _, f := range run.fronts {
			one := sample{at: time.Now()}
			if one.ports, err = connections(f.process.PID(), n.Postgres.Addr); err != nil {
				return err
			}
			samples[f.name] = append(samples[f.name], one)
		}
		pace := socketPace
		if gone {
			pace = 2 * time.Millisecond
		}
		if err := pause(ctx, pace); err != nil {
			return fmt.Errorf("wait for the end of the leader key: %w", err)
		}
	}
	// A check that connected anew and was closed meanwhile is not told from a
	// client: that would be the wrong verdict on the safe side.
	later, err := checksOf(ctx, n)
	if err != nil {
		return err
	}
	run.socketsGone = map[string]time.Duration{}
	for name, list := range samples {
		if after, ok := goneAfter(list, run.down, append(checks, later...)); ok {
			run.socketsGone[name] = after
		}
	}
	return nil
}

// checksOf gives the ports from which health checks are connected to a node.
func checksOf(ctx context.Context, n *lab.Node) ([]int, error) {
	text, err := n.Postgres.SQL(ctx, "postgres", "SELECT client_port FROM pg_stat_activity WHERE usename = '"+lab.ProbeUser+"'")
	if err != nil {
		return nil, err
	}
	var ports []int
	for _, field := range strings.Fields(text) {
		port, err := strconv.Atoi(field)
		if err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return ports, nil
}

// goneAfter says how long after an event the last of the connections was closed
// that were open in the last sample before it, other than checks; ok is false when
// one never was, and without a sample from before. Later ones do not count: cancel
// requests are connections too, and live until PostgreSQL has time for them. What a
// client does on a new connection is found in the orphan's log.
func goneAfter(list []sample, event time.Time, checks []int) (after time.Duration, ok bool) {
	first := slices.IndexFunc(list, func(s sample) bool { return !s.at.Before(event) })
	if first < 1 {
		return 0, false
	}
	before := list[first-1].ports
	ok = true
	for _, s := range list[first:] {
		if !ok {
			after, ok = s.at.Sub(event), true
		}
		open := slices.ContainsFunc(s.ports, func(port int) bool {
			return slices.Contains(before, port) && !slices.Contains(checks, port)
		})
		ok = !open
	}
	return after, ok
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
