package console

import (
	"bufio"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/stats"
	"github.com/pgvip/pgvip/wire"
)

// patience bounds everything that should take no time at all.
const patience = 20 * time.Second

// fake is a Target with one database, app, that behaves as PgBouncer's do.
type fake struct {
	mu     sync.Mutex
	said   []string // what it was told
	paused map[string]bool
	size   string
	drain  chan struct{} // closed when nothing is left to wait for
}

func newFake() *fake {
	f := &fake{paused: map[string]bool{}, size: "20", drain: make(chan struct{})}
	close(f.drain)
	return f
}

// heard notes a command.
func (f *fake) heard(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, what)
}

func (f *fake) told() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.said, ",")
}

// busy makes PAUSE wait until the returned function is called.
func (f *fake) busy() (free func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := make(chan struct{})
	f.drain = c
	return sync.OnceFunc(func() { close(c) })
}

func (f *fake) drained() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.drain
}

var (
	began  = time.Date(2026, 11, 24, 1, 2, 3, 0, time.UTC)
	ofPeer = netip.MustParseAddrPort("[::ffff:10.0.0.7]:40001")
	ofOurs = netip.MustParseAddrPort("10.0.0.1:5000")
)

func (f *fake) Traffic(context.Context) ([]Traffic, error) {
	t := Traffic{
		Database: "app",
		Total: stats.Traffic{Assignments: 1, Xacts: 20000, Queries: 300000000, Received: 4, Sent: 5, XactTime: 6 * time.Microsecond,
			QueryTime: 7 * time.Microsecond, WaitTime: 8 * time.Microsecond, ClientParses: 9, ServerParses: 10, Binds: 11},
		Average: stats.Traffic{Assignments: 21, Xacts: 22, Queries: 23, XactTime: time.Millisecond},
	}
	t.Query.Observe(90 * time.Microsecond)
	return []Traffic{t}, nil
}

func (f *fake) Pools(context.Context) ([]stats.Pool, error) {
	return []stats.Pool{
		{Node: "n1", Role: "primary", Addr: "10.0.0.11:5432", Database: "app", User: "joe", Mode: "transaction",
			Lent: 1, Idle: 2, Tested: 3, Login: 4, Canceling: 5, Canceled: 6, Waiting: 7, MaxWait: 1500 * time.Millisecond, Reason: "busy"},
		{Node: "n2", Role: "replica", Addr: "10.0.0.12:5432", Database: "app", User: "joe", Mode: "transaction", Lent: 10, Waiting: 1, Reason: "busy"},
	}, nil
}

func (f *fake) Accounts(context.Context) ([]stats.Account, error) {
	return []stats.Account{{Database: "app", User: "joe", Clients: 30, Waiting: 2, MaxWait: 2 * time.Second}, {Database: "app", User: "ann", Clients: 1}}, nil
}

func (f *fake) Clients(context.Context) ([]stats.Socket, error) {
	return []stats.Socket{{ID: 77, Link: 5, User: "joe", Database: "app", State: "active", Addr: ofPeer, LocalAddr: ofOurs,
		Connected: began, Requested: began, Waited: 1000002 * time.Microsecond, AppName: "shop", Prepared: 3, Node: "n1", Unread: 9}}, nil
}

func (f *fake) Servers(context.Context) ([]stats.Socket, error) {
	return []stats.Socket{{ID: 5, Link: 77, User: "joe", Database: "app", State: "active", Addr: ofPeer, PID: 4711, Connected: began}}, nil
}

func (f *fake) Databases(context.Context) ([]Database, error) {
	return []Database{{Name: "app", Host: "10.0.0.11", Port: 5432, ServerName: "appdb", PoolSize: 20, ServerLifetime: time.Hour,
		MaxConnections: 50, Connections: 3, Paused: f.isPaused("app")}}, nil
}

func (f *fake) Users(context.Context) ([]User, error) {
	return []User{{Name: "joe", PoolSize: 5, ReservePoolSize: Unset, PoolMode: "transaction"}, {Name: "ann", PoolSize: Unset, ReservePoolSize: Unset}}, nil
}

func (f *fake) Counts(context.Context) (Counts, error) {
	return Counts{Databases: 1, Users: 2, Pools: 2, FreeClients: 90, UsedClients: 10}, nil
}
func (f *fake) Nodes(context.Context) ([]Node, error) {
	return []Node{
		{Name: "n1", Addr: "10.0.0.11:5432", Role: "primary", State: "up", Admin: ServerReady, Writes: true, Weight: 1, Throttle: 100,
			Check: "L7OK", Report: "primary, timeline 3", Since: began, Took: 2 * time.Millisecond, Active: 4, Idle: 5, Timeline: 3, Epoch: 7},
		{Name: "n2", Addr: "10.0.0.12:5432", Role: "replica", State: "down", Admin: ServerDrain, Reason: "down: refused", Weight: 5, Throttle: 35,
			LagKnown: true, LagBytes: 4096, LagTime: 1500 * time.Millisecond, Check: "L4CON", Downs: 2, Downtime: 90 * time.Second,
			Readers: 6, Queue: 8, MaxConn: 90, Epoch: 7},
	}, nil
}
func (f *fake) VIP() []VIP {
	return []VIP{{Address: "10.0.0.100", Interface: "eth0", State: "ACTIVE", Since: began, Holds: true, Owner: "lb1", Epoch: 12, Arbiter: "etcd",
		Until: 431 * time.Millisecond, Priority: 150, Reason: "owns the address", KeeperPID: 4712, KeeperAge: 40 * time.Millisecond,
		AdvertsSent: 1, AdvertsReceived: 2, BecameActive: 3, GaveUp: 4, Refuted: 5, Announcements: 6, Readded: 7, Conflicts: 8, Tickled: 9}}
}

func (f *fake) Cluster() []ClusterNode {
	return []ClusterNode{
		{Name: "lb1", Address: "10.0.0.5:7946", Presence: "here", Since: time.Hour, State: "ACTIVE", Holds: true, Epoch: 12, Clients: 400,
			Listening: true, Healthy: 3, Version: "0.9.0", PeerID: 1, SameConfig: true, Uptime: time.Hour},
		{Name: "lb2", Address: "10.0.0.6:7946", Presence: "never seen", Since: time.Minute, Heard: -1, Trouble: "refused", SameConfig: true},
	}
}

func (f *fake) SetServer(name string, state ServerState) error {
	if name != "n1" {
		return ErrNoServer
	}
	f.heard(string(state) + " " + name)
	return nil
}
func (f *fake) Memory() []Memory { return []Memory{{"client_cache", 100, 10, 0, 1000}} }
func (f *fake) Hosts() []Host {
	return []Host{{"db1.example", 15 * time.Second, []string{"10.0.0.11", "10.0.0.12"}}}
}

func (f *fake) Settings() []Setting {
	f.mu.Lock()
	defer f.mu.Unlock()
	return []Setting{{"default_pool_size", f.size, "20", true}, {"max_client_conn", "10000", "10000", true},
		{"max_user_connections", "0", "0", true}, {"listen_addr", "*", "", false}}
}

func (f *fake) Set(key, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, err := strconv.Atoi(value); key != "default_pool_size" || err != nil {
		return io.ErrUnexpectedEOF
	}
	f.size = value
	return nil
}

func (f *fake) Reload() error { f.heard("reload"); return nil }

func (f *fake) Shutdown(mode ShutdownMode) error {
	f.heard("shutdown " + strconv.Itoa(int(mode)))
	return nil
}

func (f *fake) isPaused(database string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.paused[database]
}

func (f *fake) Paused() bool { return f.isPaused("") }

func (f *fake) Pause(database string) error {
	if f.Paused() {
		return ErrPaused
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.paused[database] = true
	return nil
}

func (f *fake) AwaitPause(ctx context.Context, database string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.drained():
	}
	if !f.isPaused(database) {
		return ErrResumed
	}
	return nil
}

func (f *fake) Resume(database string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case database != "" && database != "app":
		return ErrNoDatabase
	case !f.paused[database]:
		return ErrNotPaused
	}
	delete(f.paused, database)
	return nil
}

func (f *fake) Reconnect(database string) error { f.heard("reconnect " + database); return nil }

func (f *fake) AwaitClose(ctx context.Context, _ string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.drained():
		return nil
	}
}

func (f *fake) Kill(database string) error {
	if f.Paused() {
		return ErrPaused
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if database != "" {
		f.paused[database] = true
	}
	return nil
}

func (f *fake) KillClient(id uint64) error {
	if id != 77 {
		return ErrNoClient
	}
	f.heard("kill 77")
	return nil
}

func (f *fake) Disable(database string) error { return f.known(database) }
func (f *fake) Enable(database string) error  { return f.known(database) }

func (f *fake) known(database string) error {
	if database != "app" {
		return ErrNoDatabase
	}
	return nil
}

// site is a console on a port of the loopback, which lets every user in: root may
// do everything, others may look.
type site struct {
	*Server
	fake *fake
	addr string
}

func newSite(t testing.TB, limit int) *site {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &site{fake: newFake(), addr: l.Addr().String()}
	s.Server = New(Options{Target: s.fake, Version: "0.3", Limit: limit})
	var running sync.WaitGroup
	running.Go(func() {
		for id := uint32(1); ; id++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { s.login(conn, id) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		s.Close()
		running.Wait()
	})
	return s
}

// login reads the startup packet as proxy does, and lets the client in.
func (s *site) login(conn net.Conn, id uint32) {
	for {
		var head [4]byte
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			conn.Close()
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[:])-4)
		io.ReadFull(conn, body)
		startup, err := wire.ParseStartup(body)
		switch {
		case err != nil:
			conn.Close()
			return
		case startup.Code == wire.SSLRequestCode || startup.Code == wire.GSSENCRequestCode:
			conn.Write([]byte{'N'})
			continue
		case startup.Code == wire.CancelRequestCode:
			s.Cancel(startup.ProcessID, startup.SecretKey)
			conn.Close()
			return
		}
		user, _ := startup.Get("user")
		name, _ := startup.Get("application_name")
		conn.Write(wire.AppendAuthentication(nil, wire.AuthOk, nil))
		s.Serve(conn, Login{User: user, Admin: user == "root", AppName: name, ID: id, Key: []byte{1, 2, 3, 4}})
		return
	}
}

// url is the address for drivers.
func (s *site) url(user string) string {
	return "postgres://" + user + "@" + s.addr + "/pgbouncer?sslmode=disable&application_name=test"
}

// connect logs in with pgconn.
func (s *site) connect(t testing.TB, user string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	conn, err := pgconn.Connect(ctx, s.url(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// pgx logs in with pgx.
func (s *site) pgx(t testing.TB, mode pgx.QueryExecMode) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(s.url("root"))
	if err != nil {
		t.Fatal(err)
	}
	config.DefaultQueryExecMode = mode
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	return conn
}

// raw is an operator who writes messages by hand.
type raw struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (s *site) raw(t testing.TB) *raw {
	t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	start := wire.Startup{Code: wire.ProtocolVersion30, Params: []wire.Param{{Name: "user", Value: "root"}, {Name: "database", Value: "pgbouncer"}}}
	conn.Write(start.Append(nil))
	r := &raw{t, conn, bufio.NewReader(conn)}
	r.expect("RSSSSSSSKZ")
	return r
}

// send sends a message of this type; strings in body end with a NUL by themselves.
func (r *raw) send(typ byte, fields ...any) *raw {
	r.conn.Write(message(nil, typ, func(b []byte) []byte {
		for _, f := range fields {
			switch f := f.(type) {
			case string:
				b = append(append(b, f...), 0)
			case int: // of 16 bits
				b = binary.BigEndian.AppendUint16(b, uint16(f))
			case int32:
				b = binary.BigEndian.AppendUint32(b, uint32(f))
			case byte:
				b = append(b, f)
			}
		}
		return b
	}))
	return r
}

// next reads a message.
func (r *raw) next() (byte, []byte) {
	r.t.Helper()
	var head [5]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		r.t.Fatalf("reading a message: %v", err)
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	if _, err := io.ReadFull(r.r, body); err != nil {
		r.t.Fatal(err)
	}
	return head[0], body
}

// expect reads messages of these types; an E is followed by its SQLSTATE in
// brackets.
func (r *raw) expect(want string) *raw {
	r.t.Helper()
	got := ""
	for len(got) < len(want) {
		typ, body := r.next()
		got += string(typ)
		if typ == 'E' {
			got += "(" + wire.ParseError(body).Code + ")"
		}
	}
	if got != want {
		r.t.Fatalf("messages %s, want %s", got, want)
	}
	return r
}
