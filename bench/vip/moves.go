package vip

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// moves are those that somebody asks for, 2, and 46: what a user sees of each kind.
func moves() []Scenario {
	return []Scenario{
		{
			Number: 2, Case: "sigterm", Fault: terminate,
			Limits: limits{takeover: fast, gap: planned, breaks: 1}, Check: ended,
		},
		{
			Number: 2, Case: "drain", Fault: command("drain"), Hold: time.Second, Undo: command("drain", "--undo"),
			Limits: limits{takeover: asked, gap: planned, breaks: 1}, Check: drained,
		},
		{
			Number: 2, Case: "drill", Fault: command("drill", "vip", "--yes"),
			Limits: limits{takeover: asked, gap: planned, breaks: 2}, Check: oneOwner,
		},
		{Number: 46, Case: "psql-power-off", Fault: powerOff, Prepare: startPsql, Limits: limits{takeover: silent, breaks: 1}, Check: psqlWrote},
		{Number: 46, Case: "psql-kill-main", Fault: kill(mainPart), Prepare: startPsql, Limits: limits{takeover: fast, breaks: 1}, Check: psqlWrote},
		{Number: 46, Case: "psql-sigterm", Fault: terminate, Prepare: startPsql, Limits: limits{takeover: fast, gap: planned, breaks: 1}, Check: psqlWrote},
	}
}

// terminate asks the owner's main process to stop, as systemd does.
func terminate(ctx context.Context, run *run) error {
	return send(syscall.SIGTERM, mainPart)(ctx, run)
}

// asked is for a move that a command of its own asks for: it has to start, and to find
// the node's port for operators.
const asked = 2 * time.Second

// command runs one of pgvip's on the owner's host, with its configuration.
func command(args ...string) func(context.Context, *run) error {
	return func(ctx context.Context, run *run) error {
		out, err := run.owner.Run(ctx, append(append([]string{run.opt.Binary}, args...), "-c", run.owner.conf())...)
		if err != nil {
			return err
		}
		run.say("%s", strings.TrimSpace(out))
		return nil
	}
}

// toldGoodbye wants clients to hear from who had the address that it has moved. One
// may have sent something at that very moment, which met the new owner.
func toldGoodbye(run *run, r *Result) {
	others := 0
	for class, n := range run.office.classes {
		if class != "57P01" {
			others += n
		}
	}
	if others > 1 {
		r.fall("%d clients did not get 57P01", others)
	}
}

// drained wants that, and one owner.
func drained(ctx context.Context, run *run, r *Result) {
	toldGoodbye(run, r)
	oneOwner(ctx, run, r)
}

// ended wants clients to be told, and pgvip to be gone within its bound.
func ended(_ context.Context, run *run, r *Result) {
	toldGoodbye(run, r)
	for end := time.Now().Add(5 * time.Second); run.owner.alive(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			r.fall("%s did not end", run.owner.Name)
			return
		}
	}
	if pid := run.owner.keeper(); pid != 0 {
		r.fall("the keeper, %d, did not end", pid)
	}
}

// psqlFirst is above the numbers of all other writers.
const psqlFirst = 1 << 40

// psql is a shell's loop of psql, each with one INSERT.
type psql struct {
	acked map[int64]bool
	fails []string
	stop  context.CancelFunc
	done  chan struct{}
}

// startPsql runs psql -h VIP -p 5000 over and over, from before the fault to the end.
func startPsql(_ context.Context, run *run) error {
	ctx, stop := context.WithCancel(context.Background())
	p := &psql{acked: map[int64]bool{}, stop: stop, done: make(chan struct{})}
	run.psql = p
	go p.work(ctx, run.client, &run.psqlNext)
	run.later(p.close)
	return nil
}

func (p *psql) close() {
	p.stop()
	<-p.done
}

func (p *psql) work(ctx context.Context, client *Host, next *int64) {
	defer close(p.done)
	for ctx.Err() == nil {
		*next++
		id := psqlFirst + *next
		sql := fmt.Sprintf("INSERT INTO vip_ledger VALUES (%d)", id)
		cmd := client.Command(ctx, "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-h", VIP4.String(), "-p", "5000", "-U", lab.AppUser, "-d", lab.AppDatabase, "-c", sql)
		cmd.Env = append(cmd.Environ(), "PGPASSWORD="+lab.AppPassword, "PGCONNECT_TIMEOUT=2", "PGSSLMODE=disable")
		out, err := cmd.CombinedOutput()
		switch {
		case err == nil:
			p.acked[id] = true
		case ctx.Err() == nil:
			p.fails = append(p.fails, strings.TrimSpace(string(out)))
		}
	}
}

// psqlWrote wants what psql was told is written to be there, and that it works
// after the move.
func psqlWrote(ctx context.Context, run *run, r *Result) {
	run.psql.close()
	leader, err := run.leader(ctx)
	if err != nil {
		r.fall("%v", err)
		return
	}
	text, err := leader.Postgres.SQL(ctx, lab.AppDatabase, "SELECT id FROM vip_ledger")
	lost, err2 := countLost(run.psql.acked, text)
	if err := errors.Join(err, err2); err != nil {
		r.fall("%v", err)
		return
	}
	r.more("psql_ok", len(run.psql.acked))
	r.more("psql_failed", len(run.psql.fails))
	r.more("psql_lost", lost)
	if lost > 0 || len(run.psql.acked) == 0 {
		r.fall("psql: %d of %d writes are lost", lost, len(run.psql.acked))
	}
	// One that was under way, and one whose connection waited at the dead node.
	if len(run.psql.fails) > 2 {
		r.fall("psql failed %d times: %s", len(run.psql.fails), run.psql.fails[0])
	}
}
