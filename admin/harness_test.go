package admin

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/stats"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// stage is a program that says what a test wants it to say.
type stage struct {
	view  View
	load  *Load
	loads atomic.Int64
	hang  bool // loops do not answer

	told []string // actions
	err  error    // of the next ones
}

// View implements Source.
func (s *stage) View() View {
	v := s.view
	v.Servers, v.Ports = append([]Server(nil), v.Servers...), append([]Port(nil), v.Ports...)
	return v
}

// Load implements Source.
func (s *stage) Load(ctx context.Context) (*Load, error) {
	s.loads.Add(1)
	if s.hang {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s.load, nil
}

// SetServer implements Actions.
func (s *stage) SetServer(server, state string) error { return s.tell(server + " " + state) }

// SetPaused implements Actions.
func (s *stage) SetPaused(database string, paused bool) error {
	if paused {
		return s.tell("pause " + database)
	}
	return s.tell("resume " + database)
}

// Reload implements Actions.
func (s *stage) Reload() error { return s.tell("reload") }

// Drain implements Actions.
func (s *stage) Drain(_ context.Context, force bool) (string, error) {
	return "drained in no time", s.tell(fmt.Sprintf("drain, force %t", force))
}

// Undrain implements Actions.
func (s *stage) Undrain() error { return s.tell("undrain") }

// MoveVIP implements Actions.
func (s *stage) MoveVIP(_ context.Context, to string) (string, error) {
	return "moved", s.tell("move to " + to)
}

func (s *stage) tell(what string) error {
	s.told = append(s.told, what)
	return s.err
}

// begin is when everything in the fixed views happens.
var begin = time.Date(2026, 3, 14, 15, 9, 26, 535e6, time.UTC)

func ago(d time.Duration) time.Time { return begin.Add(-d) }

// healthy is a cluster of three in which nothing is wrong.
func healthy() *stage {
	ok := func(took float64) Check {
		return Check{At: ago(400 * time.Millisecond), Took: took, Status: "L7OK", Rise: 1, Fall: 3, Health: 3}
	}
	server := func(name, role string, check Check) Server {
		return Server{
			Name: name, Addr: "10.0.0." + name[1:] + ":5432", Role: role, Patroni: "running", State: Up, Since: ago(26 * time.Hour),
			Admin: "ready", Weight: 1, Throttle: 100, Timeline: 7, Lag: 0, LagTime: 0, Check: check,
		}
	}
	v := View{
		At: begin, Started: ago(26*time.Hour + 3*time.Minute), PID: 4711, Host: "lb1", Scope: "orders",
		Build: Build{Version: "0.9.0", Commit: "0123456789abcdef", Go: "go1.26.8"}, Ready: true,
		Primary: &Primary{Name: "n1", Addr: "10.0.0.1:5432", Timeline: 7}, Since: ago(26 * time.Hour), Epoch: 4,
		Source: SourceView{Kind: "etcd", Freshness: "FRESH", Age: 0.4, Revision: 1234, Endpoints: []Endpoint{
			{Name: "10.0.0.11:2379", InUse: true, Age: 0.4}, {Name: "10.0.0.12:2379", Age: -1}, {Name: "10.0.0.13:2379", Age: -1},
		}},
		Alarms:  []string{},
		Servers: []Server{server("n1", "primary", ok(0.0006)), server("n2", "replica", ok(0.0009)), server("n3", "replica", ok(0.0011))},
		Ports: []Port{
			{Role: "primary", Addresses: []string{"*:5000"}, Limit: 10000, Logins: 90211, Balance: "first"},
			{Role: "replica", Addresses: []string{"*:5001"}, Limit: 10000, Logins: 33, Balance: "roundrobin"},
		},
		Limits: []Limit{{"max_client_conn", 412, 10000}, {"max_replication_connections", 0, 100}},
		Decisions: []Decision{
			{At: ago(26 * time.Hour), Kind: "replica in", Server: "n3", Reason: "10.0.0.3:5432", Epoch: 4},
			{At: ago(26*time.Hour + time.Second), Kind: "primary proven", Server: "n1", Reason: "leader key revision 37, writable, timeline 7", Epoch: 4, Took: 1.312},
			{At: ago(26*time.Hour + 2*time.Second), Kind: "primary fenced", Server: "n2", Reason: "leader key moved to n1", Epoch: 3, Alarm: true},
		},
		Counters: []Counter{
			{Name: "pgvip_route_decisions_total", Help: "Decisions about the routes.", Label: "kind", Of: "primary proven", Value: 2},
			{Name: "pgvip_proxy_logins_active", Help: "Clients that are logging in.", Value: 1, Gauge: true},
		},
	}
	v.Servers[0].Writes, v.Servers[0].Lag, v.Servers[0].LagTime = true, -1, -1
	v.Servers[1].Reads, v.Servers[2].Reads = true, true
	v.Servers[2].Lag, v.Servers[2].LagTime = 81920, 0.012
	return &stage{view: v, load: busy()}
}

// busy is what the loops say of a few hundred clients.
func busy() *Load {
	l := &Load{
		Pools: []stats.Pool{
			{Node: "n1", Role: "primary", Database: "orders", User: "shop", Mode: "transaction", Lent: 14, Idle: 6},
			{Node: "n2", Role: "replica", Database: "orders", User: "report", Mode: "session", Lent: 3, Idle: 1, Tested: 1},
			{Node: "n3", Role: "replica", Database: "orders", User: "report", Mode: "session", Lent: 2, Login: 1, Waiting: 2,
				MaxWait: 130 * time.Millisecond, Reason: "All servers of this pool are in use; see default_pool_size."},
		},
		Accounts:  []stats.Account{{Database: "orders", User: "shop", Clients: 400}, {Database: "orders", User: "report", Clients: 12}},
		Crowds:    []stats.Crowd{{Role: "primary", Clients: 400}, {Role: "replica", Clients: 12}},
		Databases: []Database{{Name: "orders", Host: "10.0.0.1", Port: 5432, DBName: "orders", Mode: "transaction", Size: 20}},
		ByServer: []ServerVolume{
			{"n1", "primary", stats.Traffic{Assignments: 812345, Received: 123456789, Sent: 987654321}},
			{"n2", "replica", stats.Traffic{Assignments: 21, Received: 4096, Sent: 1 << 30}},
		},
	}
	v := Volume{Database: "orders", Traffic: stats.Traffic{
		Assignments: 812366, Xacts: 812300, Queries: 2431002, Received: 123460885, Sent: 2061396145,
		XactTime: 3 * time.Hour, QueryTime: 2 * time.Hour, WaitTime: 90 * time.Second,
	}}
	for range 98 {
		v.Query.Observe(900 * time.Microsecond)
		v.Xact.Observe(3 * time.Millisecond)
		v.Wait.Observe(20 * time.Microsecond)
	}
	v.Query.Observe(40 * time.Millisecond)
	v.Query.Observe(41 * time.Millisecond)
	l.Traffic = []Volume{v}
	return l
}

// noPrimary is the same cluster some seconds after its primary was lost.
func noPrimary() *stage {
	s := healthy()
	v := &s.view
	v.Primary, v.Candidate, v.Since, v.Epoch = nil, "n2", ago(3200*time.Millisecond), 5
	v.Reason = "n2 is in recovery"
	v.Alarms = []string{"n1: the leader key and its member key are gone at once: a crash"}
	n1, n2 := &v.Servers[0], &v.Servers[1]
	n1.Writes, n1.State, n1.Since, n1.Out, n1.Role, n1.Downs = false, Down, ago(3100*time.Millisecond), "down", "primary (by Patroni)", 1
	n1.Check = Check{At: ago(100 * time.Millisecond), Took: 0.0001, Status: "L4CON", Error: "probe login: dial tcp 10.0.0.1:5432: connect: connection refused", Rise: 1, Fall: 3}
	n2.Reads, n2.Role, n2.Out = false, "candidate", "n2 is in recovery"
	s.load.Crowds[0].Waiting, s.load.Crowds[0].MaxWait = 131, 3200*time.Millisecond
	s.load.Accounts[0].Waiting, s.load.Accounts[0].MaxWait = 131, 3200*time.Millisecond
	s.load.Pools = s.load.Pools[1:]
	v.Decisions = append([]Decision{
		{At: ago(1500 * time.Millisecond), Kind: "leader named", Server: "n2", Reason: "leader key", Epoch: 5},
		{At: ago(3200 * time.Millisecond), Kind: "primary fenced", Server: "n1", Reason: "leader key deleted", Epoch: 5, Alarm: true},
	}, v.Decisions...)
	return s
}

// blind is the same cluster without etcd for a while.
func blind() *stage {
	s := healthy()
	v := &s.view
	v.Source.Freshness, v.Source.Age = "BLIND", 47.3
	v.Source.Error = "etcd 10.0.0.12:2379: no connection within 1s: context deadline exceeded"
	v.Source.Endpoints[0].InUse, v.Source.Endpoints[0].Age = false, 47.3
	v.Source.Endpoints[1].InUse, v.Source.Endpoints[1].Error = true, "no connection within 1s"
	v.Modes = []string{"failsafe_mode"}
	return s
}

// ragged is the same cluster with every state that a replica can have.
func ragged() *stage {
	s := healthy()
	v := &s.view
	add := func(name string, change func(*Server)) {
		n := v.Servers[2]
		n.Name, n.Addr = name, "10.0.0."+name[1:]+":5432"
		change(&n)
		v.Servers = append(v.Servers, n)
	}
	v.Servers[1].Throttle = 40
	v.Servers[2].Check.Health = 2
	out := func(why string) func(*Server) {
		return func(n *Server) { n.Reads, n.Drained, n.Out = false, true, why }
	}
	add("n4", func(n *Server) {
		out("lag 186 MB, allowed are 100 MB")(n)
		n.Lag, n.LagTime = 186e6, 12.5
	})
	add("n5", func(n *Server) { out("drain by an operator")(n); n.Admin = "drain" })
	add("n6", func(n *Server) { out("maint by an operator")(n); n.Admin = "maint" })
	add("n7", func(n *Server) {
		n.Reads, n.State, n.Since, n.Lag, n.LagTime, n.Downs, n.Downtime = false, Down, ago(95*time.Second), -1, -1, 3, 190
		n.Out = "down: silent, \"twice\""
		n.Check = Check{At: ago(600 * time.Millisecond), Took: 1, Status: "L4TOUT", Error: "probe: i/o timeout", Rise: 2, Fall: 3, Health: 1, Failures: 9}
	})
	add("n8", func(n *Server) {
		n.State, n.Since, n.Check, n.Lag, n.LagTime = Unprobed, time.Time{}, Check{Status: "UNK", Rise: 1, Fall: 3}, -1, -1
	})
	v.Hold = &Hold{Since: ago(100 * time.Millisecond), Until: begin.Add(400 * time.Millisecond), Warm: []string{"n2"}}
	s.load.Databases[0].Paused = true
	return s
}

// fresh is a pgvip that has just started and knows nothing.
func fresh() *stage {
	return &stage{load: &Load{}, view: View{
		At: begin, Started: ago(200 * time.Millisecond), PID: 4711, Host: "lb1", Scope: "orders", Since: ago(200 * time.Millisecond),
		Build: Build{Version: "0.9.0", Go: "go1.26.8"}, NotReady: "there is no news of the cluster yet", Reason: "no news from etcd",
		Source: SourceView{Kind: "etcd", Freshness: "BLIND", Age: -1, Endpoints: []Endpoint{{Name: "10.0.0.11:2379", InUse: true, Age: -1}}},
		Ports:  []Port{{Role: "primary", Addresses: []string{"*:5000"}, Limit: 10000}, {Role: "replica", Limit: 10000}},
	}}
}

// full is the whole view, what the loops say included.
func (s *stage) full() View {
	v := s.View()
	v.add(s.load)
	return v
}

// serve runs the port of a stage and returns its URL.
func serve(t *testing.T, s *stage, rules Rules) string {
	t.Helper()
	h := New(Options{Source: s, Actions: s, Log: zap.NewNop(), Rules: func() Rules { return rules }})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.Serve(l)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		h.Close(ctx)
	})
	return "http://" + l.Addr().String()
}

// ask makes a request with headers in pairs, and gives the answer with its body.
func ask(t *testing.T, method, url string, headers ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	transport := &http.Transport{DisableKeepAlives: true}
	answer, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in:\n%s", part, text)
		}
	}
}
