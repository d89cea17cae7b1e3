package main

import (
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pgvip/pgvip/admin"
)

// twins are two nodes that give the address to each other, as a drill sees them:
// their operators' ports, and what answers at the address.
type twins struct {
	t    *testing.T
	gap  time.Duration // without an answer, in each move
	vip  net.Listener
	urls map[string]string

	mu     sync.Mutex
	owner  string // guarded by mu; "" while it moves
	events map[string][]admin.VIPEvent
	moves  []string
	stuck  bool // moves come to nothing
}

func newTwins(t *testing.T) *twins {
	t.Helper()
	w := &twins{t: t, owner: "lb1", urls: map[string]string{}, events: map[string][]admin.VIPEvent{}}
	for _, name := range []string{"lb1", "lb2"} {
		s := httptest.NewServer(w.port(name))
		t.Cleanup(s.Close)
		w.urls[name] = s.URL
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	w.vip = l
	go w.serve()
	return w
}

// serve answers requests for TLS while somebody owns the address.
func (w *twins) serve() {
	for {
		conn, err := w.vip.Accept()
		if err != nil {
			return
		}
		w.mu.Lock()
		owned := w.owner != ""
		w.mu.Unlock()
		go func() {
			defer conn.Close()
			var request [8]byte
			if _, err := conn.Read(request[:]); err == nil && owned {
				conn.Write([]byte("N"))
			}
		}()
	}
}

// port is the operators' port of a node.
func (w *twins) port(name string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /stats.json", func(rw http.ResponseWriter, _ *http.Request) {
		w.mu.Lock()
		defer w.mu.Unlock()
		v := admin.View{VIP: &admin.VIP{Node: name, Addresses: []string{"10.0.0.100"}, State: admin.VIPBackup, Events: w.events[name]}}
		if w.owner == name {
			v.VIP.State, v.VIP.Holds = admin.VIPActive, true
		}
		json.NewEncoder(rw).Encode(v)
	})
	mux.HandleFunc("POST /vip/move", func(rw http.ResponseWriter, r *http.Request) {
		to := r.URL.Query().Get("to")
		if r.Header.Get("Authorization") != "Bearer s3cret" || w.stuck {
			rw.WriteHeader(http.StatusConflict)
			rw.Write([]byte("it has not moved"))
			return
		}
		w.happened(name, "move", "offers the address", "")
		w.happened(name, "removed", "the address is off the interface", "")
		time.Sleep(w.gap) // what is measured
		w.happened(to, "added", "the address is on the interface", to)
		w.mu.Lock()
		w.moves = append(w.moves, name+">"+to)
		w.mu.Unlock()
	})
	return mux
}

func (w *twins) happened(node, kind, text, owner string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owner = owner
	list := w.events[node]
	w.events[node] = append(list, admin.VIPEvent{Number: uint64(len(list) + 1), Boot: float64(time.Now().UnixMicro()) / 1e6, Kind: kind, Text: text})
}

// drill runs the command line.
func (w *twins) drill(more ...string) (code int, stdout, stderr string) {
	w.t.Helper()
	return runLine(append([]string{"drill", "vip", "--url", w.urls["lb1"], "--peer", "lb2=" + w.urls["lb2"], "--probe", w.vip.Addr().String()}, more...)...)
}

// TestDrillMovesThereAndBack and says what everybody saw.
func TestDrillMovesThereAndBack(t *testing.T) {
	t.Setenv(tokenVariable, "s3cret")
	w := newTwins(t)
	w.gap = 300 * time.Millisecond
	code, stdout, stderr := w.drill("--yes", "--json", "--max-gap", "20s")
	var r drillReport
	if err := json.Unmarshal([]byte(stdout), &r); err != nil || code != codeFine || !r.OK || len(r.Legs) != 2 {
		t.Fatalf("%d, %v\n%s%s", code, err, stdout, stderr)
	}
	if got := strings.Join(w.moves, " "); got != "lb1>lb2 lb2>lb1" {
		t.Errorf("moves: %s", got)
	}
	for _, leg := range r.Legs {
		if leg.Gap < 250 || leg.Unanswered == 0 || leg.Probes <= leg.Unanswered {
			t.Errorf("%s to %s: gap %v ms, %d of %d unanswered, want a gap of 300", leg.From, leg.To, leg.Gap, leg.Unanswered, leg.Probes)
		}
		var saw []string
		for _, p := range leg.Phases {
			saw = append(saw, p.By+": "+p.What)
		}
		want := []string{leg.From + ": offers the address", leg.From + ": the address is off the interface", leg.To + ": the address is on the interface",
			"client: the move is asked for", "client: last answer before the gap", "client: first answer after it"}
		if strings.Join(saw, "\n") != strings.Join(want, "\n") {
			t.Errorf("%s to %s: saw\n%s\nwant\n%s", leg.From, leg.To, strings.Join(saw, "\n"), strings.Join(want, "\n"))
		}
	}
}

// TestDrillMissesItsBound, and leaves the address where it is when told so.
func TestDrillMissesItsBound(t *testing.T) {
	t.Setenv(tokenVariable, "s3cret")
	w := newTwins(t)
	w.gap = 200 * time.Millisecond
	code, stdout, stderr := w.drill("-y", "--stay", "--max-gap", "100ms")
	if code != codeFailed || !strings.Contains(stdout, "TOO LONG") || stderr != "" {
		t.Errorf("%d\n%s%s", code, stdout, stderr)
	}
	if got := strings.Join(w.moves, " "); got != "lb1>lb2" {
		t.Errorf("moves: %s", got)
	}
}

func TestDrillThatFails(t *testing.T) {
	t.Setenv(tokenVariable, "s3cret")
	w := newTwins(t)
	w.stuck = true
	code, stdout, _ := w.drill("--yes")
	if code != codeFailed || !strings.Contains(stdout, "FAILED: node lb1: it has not moved") {
		t.Errorf("%d\n%s", code, stdout)
	}
	for _, tt := range []struct {
		name string
		more []string
		code int
		want string
	}{
		{"nobody to ask", nil, codeUsage, "say --yes"},
		{"no such node", []string{"--yes", "--to", "lb9"}, codeFailed, "no Backup of this name answers"},
		{"to the owner", []string{"--yes", "--to", "lb1"}, codeFailed, "no Backup of this name answers"},
	} {
		if code, _, stderr := w.drill(tt.more...); code != tt.code || !strings.Contains(stderr, tt.want) {
			t.Errorf("%s: %d, %s", tt.name, code, stderr)
		}
	}
	if len(w.moves) > 0 {
		t.Errorf("moves: %v", w.moves)
	}
	t.Setenv(tokenVariable, "")
	if code, _, stderr := w.drill("--yes"); code != codeFailed || !strings.Contains(stderr, "needs a token") {
		t.Errorf("without a token: %d, %s", code, stderr)
	}
}

// TestASilenceWithoutEndIsAGap as well.
func TestASilenceWithoutEndIsAGap(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(int64(1e12 + ms)) }
	p := &prober{ended: at(1000), results: []probeResult{{at(-3000), at(-2000)}, {at(0), at(1)}, {at(20), at(25)}, {at(30), time.Time{}}, {at(10), at(12)}, {at(500), at(1400)}}}
	s := p.sum(at(15))
	if s.gap != 975*time.Millisecond || s.before != 10*time.Millisecond || s.after != 985*time.Millisecond || s.unanswered != 1 || s.probes != 6 {
		t.Errorf("sum = %+v", s)
	}
}

func TestNodesBesideOneAnother(t *testing.T) {
	a := &asker{url: "https://lb1.example:7443", token: "x"}
	for address, want := range map[string]string{"10.0.0.6:7946": "https://10.0.0.6:7443", "[2001:db8::6]:7946": "https://[2001:db8::6]:7443"} {
		if b := a.beside(address); b.url != want || b.token != "x" {
			t.Errorf("beside %s: %s, want %s", address, b.url, want)
		}
		if _, err := url.Parse(want); err != nil {
			t.Error(err)
		}
	}
}
