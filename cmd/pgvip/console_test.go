package main

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/lab"
)

// operator is somebody on the console.
type operator struct {
	t    *testing.T
	conn *pgconn.PgConn
}

// operator comes in by the Unix socket: the tests' user is pgvip's own.
func (d *door) operator() *operator {
	d.t.Helper()
	conn, err := pgconn.Connect(d.t.Context(), fmt.Sprintf("host=%s port=5000 user=pgbouncer dbname=pgbouncer", d.dir))
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close(context.Background()) })
	return &operator{d.t, conn}
}

// say carries out a command and gives its rows, each by its columns.
func (o *operator) say(sql string) []map[string]string {
	o.t.Helper()
	rows, err := o.try(sql)
	if err != nil {
		o.t.Errorf("%s: %v", sql, err)
	}
	return rows
}

func (o *operator) try(sql string) ([]map[string]string, error) {
	ctx, cancel := context.WithTimeout(o.t.Context(), childLimit)
	defer cancel()
	results, err := o.conn.Exec(ctx, sql).ReadAll()
	var list []map[string]string
	for _, result := range results {
		for _, values := range result.Rows {
			row := map[string]string{}
			for i, v := range values {
				row[result.FieldDescriptions[i].Name] = string(v)
			}
			list = append(list, row)
		}
	}
	return list, err
}

// row is the row of a SHOW in which a column has a value; nil without one.
func (o *operator) row(show, column, value string) map[string]string {
	o.t.Helper()
	rows := o.say("SHOW " + show)
	if i := slices.IndexFunc(rows, func(r map[string]string) bool { return r[column] == value }); i >= 0 {
		return rows[i]
	}
	return nil
}

// until waits until a column of such a row has a value.
func (o *operator) until(show, column, value, of, want string) {
	o.t.Helper()
	eventually(o.t, fmt.Sprintf("%s of %s is %s in SHOW %s", of, value, want, show), func() bool {
		return o.row(show, column, value)[of] == want
	})
}

// eventually waits for what becomes true by itself.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	deadline := time.Now().Add(childLimit)
	for !holds() {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, childLimit)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// async runs a statement whose end comes later.
func async(t *testing.T, conn *pgx.Conn, sql string) <-chan error {
	ended := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), childLimit)
		defer cancel()
		_, err := conn.Exec(ctx, sql)
		ended <- err
	}()
	return ended
}

const app = lab.AppDatabase

// consoleSettings are those of the tests below.
const consoleSettings = "pool_mode: transaction\nstats_period: 1s\nadmin_users: [" + lab.AppUser + "]\n"

func testConsoleShows(t *testing.T, c *child, d *door) {
	o := d.operator()
	busy, idle := d.connect(t.Context(), d.host), d.connect(t.Context(), d.dir)
	query(t.Context(), t, idle, "SELECT 1")
	query(t.Context(), t, busy, "BEGIN")
	query(t.Context(), t, busy, "SELECT 1")
	o.until("POOLS", "database", app, "sv_active", "1")
	pool := o.row("POOLS", "database", app)
	for column, want := range map[string]string{"user": lab.AppUser, "cl_active": "2", "cl_waiting": "0", "pool_mode": "transaction", "nodes": "1", "wait_reason": ""} {
		if pool[column] != want {
			t.Errorf("SHOW POOLS: %s = %q, want %q", column, pool[column], want)
		}
	}
	clients := map[string]map[string]string{}
	for _, row := range o.say("SHOW CLIENTS") {
		clients[row["database"]+" "+row["state"]] = row
	}
	server := o.row("SERVERS", "state", "active")
	active, resting := clients[app+" active"], clients[app+" idle"]
	if active["link"] == "" || active["link"] != server["ptr"] || server["link"] != active["ptr"] || server["remote_pid"] == "0" || server["local_port"] == "0" {
		t.Errorf("client %v and server %v are not linked", active, server)
	}
	if active["addr"] != "127.0.0.1" && !strings.HasPrefix(active["addr"], "127.") || resting["addr"] != "unix" || resting["link"] != "" {
		t.Errorf("clients come from %q and %q, want the loopback and a Unix socket", active["addr"], resting["addr"])
	}
	if clients["pgbouncer idle"]["user"] != "pgbouncer" {
		t.Errorf("the operator is not among the clients: %v", clients)
	}
	query(t.Context(), t, busy, "COMMIT")
	stats := o.row("STATS", "database", app)
	if stats["total_xact_count"] != "2" || stats["total_query_count"] != "4" || stats["total_received"] == "0" || stats["total_query_time"] == "0" {
		t.Errorf("SHOW STATS: %v, want 2 transactions of 4 queries, and their bytes and time", stats)
	}
	for range 2 { // pgx prepares it once; the same statement of the other client is there already
		for _, conn := range []*pgx.Conn{busy, idle} {
			if err := conn.QueryRow(t.Context(), "SELECT $1::int", 1).Scan(new(int)); err != nil {
				t.Error(err)
			}
		}
	}
	stats = o.row("STATS", "database", app)
	if stats["total_client_parse_count"] != "2" || stats["total_server_parse_count"] != "1" || stats["total_bind_count"] != "4" {
		t.Errorf("SHOW STATS: %v, want 2 statements of clients, one on the server, 4 binds", stats)
	}
	for _, show := range []string{"CLIENTS", "SERVERS"} {
		if row := o.row(show, "database", app); row["prepared_statements"] != "1" {
			t.Errorf("SHOW %s: %s prepared statements, want 1", show, row["prepared_statements"])
		}
	}
	eventually(t, "the averages forget", func() bool { return o.row("STATS", "database", app)["avg_query_count"] == "0" })
	c.says("stats") // the line of log_stats
	database := o.row("DATABASES", "name", app)
	if database["host"] == "" || database["current_client_connections"] != "2" || database["pool_size"] != "20" {
		t.Errorf("SHOW DATABASES: %v", database)
	}
	if user := o.row("USERS", "name", lab.AppUser); user["current_client_connections"] != "2" {
		t.Errorf("SHOW USERS: %v", user)
	}
	if used := o.row("LISTS", "list", "used_clients"); used["items"] != "3" {
		t.Errorf("SHOW LISTS: used_clients = %v, want two and the operator", used)
	}
	for _, show := range []string{"NODE_POOLS", "MEM", "STATE", "TOTALS", "STATS_AVERAGES", "SOCKETS", "VERSION"} {
		if len(o.say("SHOW "+show)) == 0 {
			t.Errorf("SHOW %s is empty", show)
		}
	}
	o.say("SET default_pool_size = 7")
	if got := o.row("CONFIG", "key", "default_pool_size"); got["value"] != "7" || got["default"] != "20" || got["changeable"] != "yes" {
		t.Errorf("SHOW CONFIG: %v", got)
	}
	if _, err := o.try("SET default_pool_size = many"); err == nil || !strings.Contains(err.Error(), "SET failed") {
		t.Errorf("SET to nonsense: %v", err)
	}
	o.say("RELOAD")
	if got := o.row("CONFIG", "key", "default_pool_size")["value"]; got != "20" {
		t.Errorf("default_pool_size after RELOAD: %s, want the file's", got)
	}
	end(c, syscall.SIGTERM)
}

func end(c *child, sig syscall.Signal) {
	c.signal(sig)
	c.ends(codeFine)
}

func testConsoleCommands(t *testing.T, c *child, d *door) {
	o, other := d.operator(), d.operator()
	busy, waits := d.connect(t.Context(), d.host), d.connect(t.Context(), d.host)
	query(t.Context(), t, busy, "BEGIN")

	// Ctrl-C takes a PAUSE back that still waits.
	paused := make(chan error, 1)
	pause := func() {
		_, err := o.try("PAUSE")
		paused <- err
	}
	go pause()
	other.until("STATE", "key", "paused", "value", "yes")
	eventually(t, "PAUSE is canceled", func() bool {
		if err := o.conn.CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(paused) == 1
	})
	if err := <-paused; err == nil || !strings.Contains(err.Error(), "57014") {
		t.Errorf("canceled PAUSE: %v, want 57014", err)
	}
	other.until("STATE", "key", "paused", "value", "no")

	// PAUSE waits for the transaction, and who asks meanwhile waits for RESUME.
	go pause()
	other.until("STATE", "key", "paused", "value", "yes")
	waiting := async(t, waits, "SELECT 1")
	other.until("POOLS", "database", app, "cl_waiting", "1")
	if reason := other.row("POOLS", "database", app)["wait_reason"]; !strings.Contains(reason, "RESUME") {
		t.Errorf("wait_reason = %q, want PAUSE's", reason)
	}
	query(t.Context(), t, busy, "COMMIT")
	if err := <-paused; err != nil {
		t.Errorf("PAUSE: %v", err)
	}
	if rows := other.say("SHOW SERVERS"); len(rows) > 0 {
		t.Errorf("servers after PAUSE: %v", rows)
	}
	o.say("RESUME")
	if err := <-waiting; err != nil {
		t.Errorf("query behind PAUSE: %v", err)
	}

	// RECONNECT gives the client another server.
	pid := func() (n int) {
		t.Helper()
		if err := busy.QueryRow(t.Context(), "SELECT pg_backend_pid()", pgx.QueryExecModeExec).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := pid()
	o.say("RECONNECT " + app)
	o.say("WAIT_CLOSE " + app)
	if after := pid(); after == before {
		t.Errorf("server process %d after RECONNECT, want another", after)
	}

	// DISABLE keeps new clients out, and those who are there go on.
	o.say("DISABLE " + app)
	dsn := fmt.Sprintf("host=%s port=5000 user=%s password=%s dbname=%s sslmode=disable", d.host, lab.AppUser, lab.AppPassword, app)
	if _, err := pgx.Connect(t.Context(), dsn); err == nil || !strings.Contains(err.Error(), "57P03") {
		t.Errorf("login to a disabled database: %v, want 57P03", err)
	}
	query(t.Context(), t, busy, "SELECT 1")
	o.say("ENABLE " + app)

	// KILL_CLIENT and KILL end clients with 57P01; KILL leaves the database paused.
	victim := d.connect(t.Context(), d.host)
	o.say(fmt.Sprintf("KILL_CLIENT %d", victim.PgConn().PID()))
	if got := code(t.Context(), victim); got != "57P01" {
		t.Errorf("killed client: %s, want 57P01", got)
	}
	query(t.Context(), t, busy, "BEGIN")
	o.say("KILL " + app)
	if got := code(t.Context(), busy); got != "57P01" {
		t.Errorf("client of a killed database: %s, want 57P01", got)
	}
	late := d.connect(t.Context(), d.host) // what PostgreSQL says at login is known
	waiting = async(t, late, "SELECT 1")
	o.until("POOLS", "database", app, "cl_waiting", "1")
	o.until("POOLS", "database", app, "sv_active", "0")
	o.say("RESUME " + app)
	if err := <-waiting; err != nil {
		t.Errorf("query behind KILL: %v", err)
	}
	testConsoleSignals(t, c, o, late)
}

// testConsoleSignals: SIGUSR1 and SIGUSR2 are PAUSE and RESUME; SHUTDOWN waits for
// the last client, lets no other in, and operators by the Unix socket alone.
func testConsoleSignals(t *testing.T, c *child, o *operator, last *pgx.Conn) {
	c.signal(syscall.SIGUSR1)
	o.until("STATE", "key", "paused", "value", "yes")
	c.signal(syscall.SIGUSR1)
	c.says("signal had no effect")
	waiting := async(t, last, "SELECT 1")
	o.until("POOLS", "database", app, "cl_waiting", "1")
	c.signal(syscall.SIGUSR2)
	if err := <-waiting; err != nil {
		t.Errorf("query behind SIGUSR1: %v", err)
	}
	o.say("SHUTDOWN WAIT_FOR_CLIENTS")
	c.says("stopping")
	if _, err := o.try("RESUME"); err == nil || !strings.Contains(err.Error(), "shutting down") {
		t.Errorf("RESUME while stopping: %v", err)
	}
	addr := net.JoinHostPort(last.Config().Host, "5000")
	eventually(t, "the port is closed", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err != nil
	})
	query(t.Context(), t, last, "SELECT 1")
	last.Close(t.Context())
	c.ends(codeFine)
}

// testWaitForServers: SIGINT waits for the transaction, and not for the client.
func testWaitForServers(t *testing.T, c *child, d *door) {
	busy := d.connect(t.Context(), d.host)
	query(t.Context(), t, busy, "BEGIN")
	c.signal(syscall.SIGINT)
	c.says("stopping")
	query(t.Context(), t, busy, "SELECT 1")
	query(t.Context(), t, busy, "COMMIT")
	if got := code(t.Context(), busy); got != "57P01" {
		t.Errorf("client after its transaction: %s, want 57P01", got)
	}
	c.ends(codeFine)
}

// testShutdownNow does not wait for anything; the operator hears of it first.
func testShutdownNow(t *testing.T, c *child, d *door) {
	busy := d.connect(t.Context(), d.host)
	query(t.Context(), t, busy, "BEGIN")
	d.operator().say("SHUTDOWN")
	if got := code(t.Context(), busy); got != "57P01" {
		t.Errorf("client in a transaction: %s, want 57P01", got)
	}
	c.ends(codeFine)
}

// testFastClose: with server_fast_close, RECONNECT ends the sessions that would keep
// their servers.
func testFastClose(t *testing.T, c *child, d *door) {
	conn := d.connect(t.Context(), d.host)
	query(t.Context(), t, conn, "SELECT 1")
	d.operator().say("RECONNECT " + app)
	if got := code(t.Context(), conn); got != "57P01" {
		t.Errorf("client in session mode: %s, want 57P01", got)
	}
	c.says("server replaced")
	end(c, syscall.SIGTERM)
}

// testConsoleServers: READY, DRAIN and MAINT, here of the only server there is.
func testConsoleServers(t *testing.T, c *child, d *door) {
	o := d.operator()
	eventually(t, "the server is known", func() bool { return o.row("NODES", "name", "n1")["port"] == "primary, replicas" })
	node := o.row("NODES", "name", "n1")
	for column, want := range map[string]string{"role": "primary", "state": "up", "admin": "ready", "check": "L7OK", "timeline": "1", "weight": "1"} {
		if node[column] != want {
			t.Errorf("SHOW NODES: %s = %q, want %q", column, node[column], want)
		}
	}
	if _, err := o.try("DRAIN n2"); err == nil || !strings.Contains(err.Error(), "no such server: n2") {
		t.Errorf("DRAIN of nobody: %v", err)
	}
	for _, verb := range []string{"DRAIN", "MAINT"} {
		busy, late := d.connect(t.Context(), d.host), d.connect(t.Context(), d.host)
		query(t.Context(), t, busy, "BEGIN")
		o.say(verb + " n1")
		o.until("NODES", "name", "n1", "admin", strings.ToLower(verb))
		waits := async(t, late, "SELECT 1")
		o.until("POOLS", "database", app, "cl_waiting", "1")
		if got, want := o.row("POOLS", "database", app)["wait_reason"], `Server "n1" is in `+strings.ToLower(verb); !strings.HasPrefix(got, want) {
			t.Errorf("%s: clients wait because %q, want %q", verb, got, want)
		}
		o.say("RELOAD")
		query(t.Context(), t, busy, "SELECT 2")
		query(t.Context(), t, busy, "COMMIT")
		idle := map[string]string{"DRAIN": "1", "MAINT": "0"}[verb]
		o.until("NODES", "name", "n1", "sv_idle", idle)
		if node := o.row("NODES", "name", "n1"); node["admin"] != strings.ToLower(verb) || node["state"] != "up" || node["cl_waiting"] != "1" || node["sv_active"] != "0" {
			t.Errorf("%s after RELOAD and COMMIT: %v", verb, node)
		}
		o.say("READY n1")
		if err := <-waits; err != nil {
			t.Errorf("%s, then READY: %v", verb, err)
		}
		busy.Close(t.Context())
		late.Close(t.Context())
	}
	end(c, syscall.SIGTERM)
}
