package failover

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// t0 is when the made-up histories begin.
func t0() time.Time { return time.Unix(1000, 0) }

// at is a moment of theirs.
func at(ms int) time.Time { return t0().Add(time.Duration(ms) * time.Millisecond) }

func TestLedgerFindsWhatIsWrong(t *testing.T) {
	tests := []struct {
		name             string
		stored           map[int64]int
		lost, duplicated int
	}{
		{"all is well", map[int64]int{11: 1, 12: 1, 13: 1}, 0, 0},
		{"one that was not acknowledged is not there", map[int64]int{11: 1, 12: 1}, 0, 0},
		{"an acknowledged one is lost", map[int64]int{11: 1, 13: 1}, 1, 0},
		{"all are lost", nil, 2, 0},
		{"one is applied twice", map[int64]int{11: 1, 12: 2}, 0, 1},
		{"one that was not acknowledged is applied three times", map[int64]int{11: 1, 12: 1, 13: 3}, 0, 2},
		{"one that nobody wrote", map[int64]int{11: 1, 12: 1, 99: 1}, 0, 1},
		{"one of an earlier scenario", map[int64]int{11: 1, 12: 1, 10: 1}, 0, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := &ledger{last: 10}
			l.begin()
			for range 3 {
				l.next()
			}
			l.ack(11)
			l.ack(12)
			if lost, duplicated := l.compare(tt.stored); lost != tt.lost || duplicated != tt.duplicated {
				t.Errorf("compare = %d lost, %d duplicated, want %d and %d", lost, duplicated, tt.lost, tt.duplicated)
			}
		})
	}
}

func TestLongestGap(t *testing.T) {
	tests := []struct {
		name     string
		times    []int
		from, to int // of the gap
	}{
		{"in the middle", []int{10, 20, 60, 70, 100}, 20, 60},
		{"at the start", []int{50, 60, 80, 100}, 0, 50},
		{"up to the end", []int{10, 20, 30}, 30, 100},
		{"nothing at all", nil, 0, 100},
		{"outside of the window", []int{-500, 30, 50, 80, 900}, 0, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var times []time.Time
			for _, ms := range tt.times {
				times = append(times, at(ms))
			}
			if g := longestGap(times, at(0), at(100)); g != (gap{at(tt.from), at(tt.to)}) {
				t.Errorf("gap is from %v to %v, want %d and %d ms", g.from.Sub(t0()), g.to.Sub(t0()), tt.from, tt.to)
			}
		})
	}
}

func TestFloor(t *testing.T) {
	var proofs []proof
	for ms := 0; ms <= 1000; ms += 4 {
		if ms <= 400 {
			proofs = append(proofs, proof{"n1", at(ms)})
		}
		if ms >= 600 {
			proofs = append(proofs, proof{"n2", at(ms)})
		}
	}
	if g := floorOf(proofs, at(0), at(1000), nil); g.length() != 200*time.Millisecond {
		t.Errorf("floor = %v, want 200ms", g.length())
	}
	// An orphan's writes do not count from 300 ms on.
	counts := func(node string, when time.Time) bool { return node != "n1" || when.Before(at(300)) }
	if g := floorOf(proofs, at(0), at(1000), counts); g.from != at(296) || g.to != at(600) {
		t.Errorf("floor is from %v to %v, want 296ms and 600ms", g.from.Sub(t0()), g.to.Sub(t0()))
	}
	if g := floorOf(proofs, at(0), at(390), nil); g.length() != 0 {
		t.Errorf("floor without an outage = %v, want 0", g.length())
	}
}

func TestTolerance(t *testing.T) {
	down := at(1000)
	// flight is a statement that was under way when the primary died.
	flight := failure{kind: writer, connected: at(0), began: at(990), ended: at(1001), class: codeConnectionFails}
	queued := failure{kind: writer, connected: at(0), began: at(1500), ended: at(1600), class: "57P03"}
	login := failure{kind: newcomer, connect: true, began: at(900), ended: at(1100), class: classClosed}
	stopped := failure{kind: writer, connected: at(0), began: at(999), ended: at(1000), class: codeAdminShutdown}
	again := stopped
	again.connected = at(2000)
	uncertain := stopped
	uncertain.class = codeMaybeCommitted
	many := []failure{}
	for range poolSizes()[Transaction] + 1 {
		many = append(many, flight)
	}
	tests := []struct {
		name string
		t    tolerance
		mode string
		all  []failure
		want string // part of the reason; empty when it is allowed
	}{
		{"no error where none is allowed", none, Session, nil, ""},
		{"an error where none is allowed", none, Session, []failure{flight}, "1 errors"},
		{"in flight in a crash", inFlight, Transaction, []failure{flight}, ""},
		{"queued in a crash", inFlight, Transaction, []failure{queued}, "only to wait"},
		{"at login in a crash", inFlight, Transaction, []failure{login}, "only to wait"},
		{"at login in a crash, in session mode", inFlight, Session, []failure{login}, "only to wait"},
		{"more in flight than servers", inFlight, Transaction, many, "9 statements in flight"},
		{"a bound session after a crash", inFlight, Session, []failure{queued}, ""},
		{"a bound session twice", inFlight, Session, []failure{flight, queued}, "only to wait"},
		{"too many connections", inFlight, Session, []failure{{connected: at(0), began: at(990), class: codeTooMany}}, "53300"},
		{"a session told of a switchover", announced, Session, []failure{stopped}, ""},
		{"a session told of it twice", announced, Session, []failure{stopped, stopped}, "avoidable"},
		{"a new session told of it", announced, Session, []failure{stopped, again}, "avoidable"},
		{"a transaction broken by a switchover", announced, Transaction, []failure{stopped}, "avoidable"},
		{"a session whose commit PostgreSQL left open", announced, Session, []failure{uncertain}, ""},
		{"a transaction whose commit PostgreSQL left open", announced, Transaction, []failure{uncertain}, "avoidable"},
		{"a session reset by a switchover", announced, Session, []failure{flight}, "avoidable"},
		{"a reader of a node that ended", lostNode, Transaction, []failure{queued}, ""},
		{"judged elsewhere", anything, Transaction, many, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reason := tt.t.judge("5000", &front{mode: tt.mode}, tt.all, down)
			if (tt.want == "") != (reason == "") || !strings.Contains(reason, tt.want) {
				t.Errorf("judge = %q, want %q", reason, tt.want)
			}
		})
	}
}

// TestWrongNodesAreCounted feeds the judge of errors and of visits with a
// demoted primary's answers.
func TestWrongNodesAreCounted(t *testing.T) {
	run := &run{scenario: &Scenario{Writes: anything, Reads: anything}}
	f := &front{mode: Transaction}
	f.failures.add(failure{kind: writer, class: codeReadOnly})
	f.failures.add(failure{kind: writer, class: classReset})
	r := &Result{}
	run.judgeErrors(f, r)
	if r.WrongNode != 1 || r.Errors != 2 {
		t.Errorf("wrong nodes, errors = %d, %d, want 1, 2", r.WrongNode, r.Errors)
	}
}

func TestLongTransactionsAreCountedApart(t *testing.T) {
	run := &run{scenario: &Scenario{Writes: announced}}
	f := &front{mode: Transaction}
	f.failures.add(failure{kind: long, class: codeAdminShutdown, connected: at(0)})
	r := &Result{}
	run.judgeErrors(f, r)
	if r.Errors != 0 || !r.OK() || !strings.Contains(r.String(), "long_57P01=1") {
		t.Errorf("line is %s, want no error and long_57P01=1", r)
	}
	f.failures.add(failure{kind: long, class: classReset, connected: at(0)})
	if run.judgeErrors(f, r); r.Errors != 1 || r.OK() {
		t.Errorf("line is %s, want one error that is not ok", r)
	}
}

func TestOutageIsHeldAgainstTheFloor(t *testing.T) {
	for _, tt := range []struct {
		outage, floor int
		ok            bool
	}{{1500, 1300, true}, {1700, 1300, false}, {200, 0, true}, {700, 0, false}} {
		run := &run{scenario: &Scenario{Slack: 300 * time.Millisecond}}
		r := &Result{Outage: time.Duration(tt.outage) * time.Millisecond, Floor: time.Duration(tt.floor) * time.Millisecond}
		if run.judgeOutage(&front{}, r); r.OK() != tt.ok {
			t.Errorf("outage %d over floor %d: ok = %t, want %t", tt.outage, tt.floor, r.OK(), tt.ok)
		}
	}
}

func TestHoldFollowsTheKey(t *testing.T) {
	// Of the keys the first is another's, and taken back.
	keys := []keyEvent{
		{at: at(100), key: "failover", value: `{"leader":"n1","scheduled_at":"2026-11-27T06:00:00"}`}, {at: at(200), key: "failover", value: "{}"},
		{at: at(1000), key: "failover", value: `{"leader":"n1","member":null}`},
	}
	for _, tt := range []struct {
		name string
		keys []keyEvent
		held []int
		ok   bool
		line string
	}{
		{"at once", keys, []int{1003}, true, "hold_ms=3"},
		{"late", keys, []int{1220}, false, "hold_ms=220"},
		{"never", keys, nil, false, "no hold"},
		{"scheduled", keys[:2], []int{5000}, true, ""},
	} {
		f := &front{mode: Session, log: filepath.Join(t.TempDir(), "log")}
		var log strings.Builder
		for _, ms := range tt.held {
			fmt.Fprintf(&log, "{\"time\":%q,\"msg\":\"switchover announced\"}\n", at(ms).UTC().Format("2006-01-02T15:04:05.000Z0700"))
		}
		if err := os.WriteFile(f.log, []byte(log.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		run := &run{Rig: &Rig{watcher: &watcher{events: tt.keys}}, scenario: &Scenario{Lead: true}, fault: at(0)}
		r := &Result{}
		if run.judgeHold(f, r); r.OK() != tt.ok || !strings.Contains(r.String(), tt.line) {
			t.Errorf("%s: line is %s, want ok=%t and %q", tt.name, r, tt.ok, tt.line)
		}
	}
}

func TestLine(t *testing.T) {
	r := &Result{Scenario: 20, Name: "crash", Mode: Session, Outage: 1500 * time.Millisecond, Floor: time.Second, Errors: 3}
	r.more("lead_ms", 270)
	want := "failover scenario=20 mode=session outage_ms=1500 floor_ms=1000 client_errors=3 lost=0 duplicated=0 wrong_node=0 ok=true name=crash lead_ms=270"
	if got := r.String(); got != want {
		t.Errorf("line is\n%s, want\n%s", got, want)
	}
	r.fall("%d are lost", 2)
	if got := fmt.Sprint(r); !strings.Contains(got, "ok=false") || !strings.HasSuffix(got, `reason="2 are lost"`) {
		t.Errorf("line is %s, want ok=false and a reason", got)
	}
}

func TestScenariosHaveNumbersOfTheirOwn(t *testing.T) {
	seen := map[int]bool{}
	for _, s := range Scenarios() {
		if seen[s.Number] || s.Name == "" || (s.Fault == nil) == (s.Special == nil) {
			t.Errorf("scenario %d %q: a number twice, no name, or not one way to run it", s.Number, s.Name)
		}
		seen[s.Number] = true
	}
}

func TestStaleNewsAreMeasured(t *testing.T) {
	news := func(ms int, reason string) entry { return entry{Time: at(ms), Msg: "news from etcd", Reason: reason} }
	tests := []struct {
		name    string
		entries []entry
		want    time.Duration
	}{
		{"never", []entry{{Time: at(1), Msg: "primary back"}}, 0},
		{"twice", []entry{news(0, "FRESH -> STALE"), news(300, "STALE -> FRESH"), news(500, "FRESH -> STALE"), news(600, "STALE -> FRESH")}, 300 * time.Millisecond},
		{"blind in between", []entry{news(0, "FRESH -> STALE"), news(8000, "STALE -> BLIND"), news(9000, "BLIND -> FRESH")}, 9 * time.Second},
		{"to the end", []entry{news(0, "FRESH -> STALE")}, staleLimit + 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := staleFor(tt.entries); got != tt.want {
				t.Errorf("staleFor = %v, want %v", got, tt.want)
			}
		})
	}
}
