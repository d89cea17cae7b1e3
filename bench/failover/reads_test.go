package failover

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// readerRun is a scenario in which n2 must not be reached from 100 to 1000 ms.
func readerRun() *run {
	n2 := &lab.Node{Name: "n2", Postgres: &lab.Postgres{Host: "127.64.0.2"}}
	return &run{Rig: &Rig{prober: &prober{}}, shunned: []shun{{node: n2, since: at(100), until: at(1000), stay: true}}}
}

// seenAt is a front one of whose readers was served by a host.
func seenAt(mode, host string, connected, began, ended int) *front {
	f := &front{mode: mode}
	f.visits.add(visit{kind: follower, host: host, connected: at(connected), began: at(began), ended: at(ended)})
	return f
}

func TestNodesThatMustNotBeReached(t *testing.T) {
	tests := []struct {
		name  string
		check func(*run, *front, *Result)
		front *front
		want  string // part of the reason; empty when it is fine
	}{
		{"another node", avoided, seenAt(Transaction, "127.64.0.3", 0, 500, 501), ""},
		{"before", avoided, seenAt(Transaction, "127.64.0.2", 0, 90, 91), ""},
		{"within the grace", avoided, seenAt(Transaction, "127.64.0.2", 0, 199, 201), ""},
		{"after", avoided, seenAt(Transaction, "127.64.0.2", 0, 1001, 1003), ""},
		{"a node that left, by transaction", avoided, seenAt(Transaction, "127.64.0.2", 0, 500, 501), "answers from n2"},
		{"a node that left, in an old session", avoided, seenAt(Session, "127.64.0.2", 0, 500, 501), ""},
		{"a lagging node, by transaction", drained, seenAt(Transaction, "127.64.0.2", 0, 500, 501), "n2, which lags"},
		{"a lagging node, in an old session", drained, seenAt(Session, "127.64.0.2", 0, 500, 501), ""},
		{"a lagging node, in a new session", drained, seenAt(Session, "127.64.0.2", 400, 500, 501), "n2, which lags"},
		{"a short read", notStuck, seenAt(Session, "127.64.0.2", 0, 150, 2000), ""},
		{"a read that hung", notStuck, seenAt(Session, "127.64.0.2", 0, 150, 20000), "vanished"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := &Result{}
			tt.check(readerRun(), tt.front, r)
			if reasons := strings.Join(r.Reasons, "; "); (tt.want == "") != r.OK() || !strings.Contains(reasons, tt.want) {
				t.Errorf("reasons %q, want %q", reasons, tt.want)
			}
		})
	}
}

func TestAShunnedNodeIsCounted(t *testing.T) {
	run := readerRun()
	run.shunned[0].stay = false // not even in an old session
	r := &Result{}
	avoided(run, seenAt(Session, "127.64.0.2", 0, 500, 501), r)
	if r.WrongNode != 1 || r.OK() {
		t.Errorf("line is %s, want one wrong node", r)
	}
}

func TestOrphanIsTimed(t *testing.T) {
	// log is the orphan's, with an INSERT some milliseconds after the key was gone.
	log := func(front string, ms int) string {
		path := filepath.Join(t.TempDir(), "log")
		line := at(1000+ms).UTC().Format("2006-01-02 15:04:05.000 UTC") + " [7] app@app LOG:  statement: INSERT INTO failover_ledger VALUES ('" + front + "', 7)\n"
		if err := os.WriteFile(path, []byte(line), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	soon, late := map[string]time.Duration{Session: 40 * time.Millisecond}, map[string]time.Duration{Session: 150 * time.Millisecond}
	for _, tt := range []struct {
		name string
		gone map[string]time.Duration
		log  string
		ok   bool
	}{
		{"in time", soon, log(Session, 20), true},
		{"connected for long", late, log(Session, 20), false},
		{"connected for ever", nil, log(Session, 20), false},
		{"a late statement", soon, log(Session, 130), false},
		{"nothing in the log", soon, log(Transaction, 20), false},
		{"no log", soon, "", false},
	} {
		run := readerRun()
		run.socketsGone, run.orphanLog, run.down = tt.gone, tt.log, at(1000)
		f := &front{mode: Session}
		f.name = Session
		r := &Result{}
		if orphanIsLeft(run, f, r); r.OK() != tt.ok {
			t.Errorf("%s: line is %s, want ok=%t", tt.name, r, tt.ok)
		}
	}
}

func TestAMemberGetsAnotherAddress(t *testing.T) {
	got, err := withAddress(`{"conn_url":"postgres://127.64.0.2:5432/postgres","state":"running"}`, "127.64.0.99:23793")
	if want := `{"conn_url":"postgres://127.64.0.99:23793/postgres","state":"running"}`; err != nil || got != want {
		t.Errorf("withAddress = %s, %v, want %s", got, err, want)
	}
}
