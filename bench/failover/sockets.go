package failover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// specials are the scenarios about sockets and processes.
func specials() []Scenario {
	async := map[string]any{"synchronous_mode": false}
	return []Scenario{
		{Number: 38, Name: "slow-clients", Fault: slowClients, Writes: none, Reads: none, Check: sameNode},
		{Number: 39, Name: "vanished-peers", DCS: async, Fault: vanish, Writes: none, Reads: lostNode, Check: notStuck},
		{Number: 14, Name: "balancer-killed-without-etcd", DCS: map[string]any{"failsafe_mode": true}, Special: balancerKilled},
		{Number: 40, Name: "reconnect-storm", Special: storm},
		{Number: 16, Name: "etcd-token-and-certificate", Special: credentials},
	}
}

const (
	slowPerFront = 2
	slowFor      = 12 * time.Second
	// slowMemory is what a pgvip may grow by for two clients who do not take their
	// 100 MB.
	slowMemory = 24 << 20
)

// slowClients take 1 KB a second of a large result.
func slowClients(ctx context.Context, run *run) error {
	ctx, cancel := context.WithTimeout(ctx, slowFor)
	defer cancel()
	before := map[*front]int64{}
	errs := make(chan error, slowPerFront*len(run.fronts)) // one from each client
	for _, f := range run.fronts {
		size, err := f.process.PSS()
		if err != nil {
			return err
		}
		before[f] = size
		for range slowPerFront {
			go func() { errs <- readSlowly(ctx, f.primary) }()
		}
	}
	<-ctx.Done()
	for _, f := range run.fronts {
		size, err := f.process.PSS()
		if err != nil {
			return err
		}
		run.note("grown_kb_"+f.name, (size-before[f])>>10)
		if size-before[f] > slowMemory && !f.rival() {
			run.fall("%s has grown by %d MB", f.name, (size-before[f])>>20)
		}
	}
	var err error
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	return err
}

// readSlowly asks for 100 MB and reads them slowly until ctx ends.
func readSlowly(ctx context.Context, addr string) error {
	login, cancel := context.WithTimeout(context.WithoutCancel(ctx), slowFor)
	defer cancel()
	conn, err := pgconn.Connect(login, appURL(addr))
	if err != nil {
		return err
	}
	taken, err := conn.Hijack()
	if err != nil {
		return err
	}
	defer taken.Conn.Close()
	sql := "SELECT repeat('x', 1000) FROM generate_series(1, 100000)\x00"
	query := binary.BigEndian.AppendUint32([]byte{'Q'}, uint32(len(sql)+4))
	if _, err := taken.Conn.Write(append(query, sql...)); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if _, err := io.CopyN(io.Discard, taken.Conn, 1024); err != nil {
			return fmt.Errorf("slow client: %w", err)
		}
		pause(ctx, time.Second)
	}
	return nil
}

const (
	// userTimeout is pgvip's tcp_user_timeout in the scenarios: the kernel ends a
	// silent connection by it, and not by the number of keepalive probes.
	userTimeout = 20 * time.Second
	// clientProbed is when pgvip asks a silent client for the first time whether it is
	// there.
	clientProbed = 10 * time.Second
	// clientGone is how long a client that vanished may keep its server: 10 s to the
	// first probe, and some.
	clientGone = userTimeout + 12*time.Second
	// serverGone is how long a server that vanished may hold its clients up: the
	// quick verdict of 3 s, and some.
	serverGone = 8 * time.Second
)

// vanish makes a client, and then a replica, disappear without a word: nothing
// goes to their addresses any more and nothing comes from there.
func vanish(ctx context.Context, run *run) error {
	if err := run.vanishClients(ctx); err != nil {
		return err
	}
	victim := run.replicas[0]
	reappear, err := isolate(ctx, victim.Postgres.Host)
	if err != nil {
		return err
	}
	gone := time.Now()
	err = pause(ctx, serverGone+4*time.Second)
	run.shunned = append(run.shunned, shun{node: victim, since: gone, until: time.Now()})
	for _, f := range run.fronts {
		// Both readers that stay have to be served again, wherever they were.
		served := f.visits.count(func(v visit) bool {
			return v.kind == follower && v.ended.After(gone.Add(serverGone))
		})
		run.note("reads_after_"+f.name, served)
		if served == 0 && !f.rival() {
			run.fall("%s serves no reads %v after a replica vanished", f.name, serverGone)
		}
	}
	return errors.Join(err, reappear(), run.lab.WaitReady(ctx), run.used(ctx, victim, true))
}

// notStuck: nobody waited for a server that had vanished.
func notStuck(run *run, f *front, r *Result) {
	sameNode(run, f, r)
	longest := time.Duration(0)
	for _, v := range f.visits.all {
		longest = max(longest, v.ended.Sub(v.began))
	}
	if r.more("longest_read_ms", longest.Milliseconds()); longest > serverGone && !f.rival() {
		r.fall("a read waited %v for a server that had vanished", longest.Round(time.Millisecond))
	}
}

// vanishClients lets a client of each front disappear in its transaction.
func (run *run) vanishClients(ctx context.Context) error {
	host := run.lab.Host(80)
	for _, f := range run.fronts {
		conn, err := beginAs(ctx, f, host)
		if err != nil {
			return err
		}
		// It stays open here. Left alone it would be closed by the garbage collector,
		// and that would be a goodbye.
		defer conn.Close()
	}
	reappear, err := isolate(ctx, host)
	if err != nil {
		return err
	}
	gone := time.Now()
	for _, f := range run.fronts {
		if err := run.awaitRollback(ctx, f, gone); err != nil {
			return errors.Join(err, reappear())
		}
	}
	return reappear()
}

// beginAs opens a transaction of the vanishing client of a front, from a host.
func beginAs(ctx context.Context, f *front, host string) (net.Conn, error) {
	config, err := pgconn.ParseConfig(appURL(f.primary) + "&application_name=vanishing_" + f.name)
	if err != nil {
		return nil, err
	}
	config.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(host)}}).DialContext
	conn, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, "BEGIN; SELECT 1").ReadAll(); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn.Conn(), nil
}

// awaitRollback waits until the server of a front's vanished client is free.
func (run *run) awaitRollback(ctx context.Context, f *front, gone time.Time) error {
	for {
		n, err := run.leader.Postgres.SQL(ctx, "postgres", "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction' AND application_name = 'vanishing_"+f.name+"'")
		if err != nil {
			return err
		}
		took := time.Since(gone)
		switch {
		case n == "0" && took < clientProbed:
			return fmt.Errorf("the client of %s has not vanished: its server is free after %v", f.name, took)
		case n == "0":
			run.note("client_s_"+f.name, fmt.Sprintf("%.1f", took.Seconds()))
			return nil
		case took > clientGone:
			if !f.rival() {
				run.fall("%s keeps the server of a client that vanished %v ago", f.name, clientGone)
			}
			return nil
		}
		pause(ctx, 200*time.Millisecond)
	}
}

// isolate drops all that comes from an address, acknowledgments too: to others it
// is as if it had vanished. Dropping what goes there would be told to the sender
// as an error. It changes the routing of the whole network namespace, so the
// program runs in one of its own.
func isolate(ctx context.Context, host string) (reappear func() error, err error) {
	if err := ip(ctx, "rule", "add", "pref", "10", "from", host, "blackhole"); err != nil {
		return nil, err
	}
	return func() error { return ip(context.WithoutCancel(ctx), "rule", "del", "pref", "10", "from", host) }, nil
}

// OwnNetwork prepares a fresh network namespace: loopback alone, and rules that
// may come before the kernel's table of local addresses.
func OwnNetwork(ctx context.Context) error {
	return errors.Join(
		ip(ctx, "link", "set", "lo", "up"),
		ip(ctx, "rule", "add", "pref", "100", "lookup", "local"),
		ip(ctx, "rule", "del", "pref", "0"),
	)
}

func ip(ctx context.Context, args ...string) error {
	if out, err := exec.CommandContext(ctx, "ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, out)
	}
	return nil
}
