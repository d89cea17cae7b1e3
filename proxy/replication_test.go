package proxy

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

func TestReadReplication(t *testing.T) {
	for value, want := range map[string]replication{
		"database": logical, "true": physical, "1": physical, "on": physical, "t": physical, "TRUE": physical, "y": physical, "Yes": physical,
		"false": noReplication, "0": noReplication, "off": noReplication, "of": noReplication, "n": noReplication, "f": noReplication,
	} {
		if got, err := readReplication(value); got != want || err != nil {
			t.Errorf("readReplication(%q) = %v, %v, want %v", value, got, err, want)
		}
	}
	for _, value := range []string{"", "o", "2", "DATABASE", "truely", "logical"} {
		if got, err := readReplication(value); err == nil {
			t.Errorf("readReplication(%q) = %v, want an error", value, got)
		}
	}
}

// walsenders waits until a server has n of them.
func (d *database) walsenders(t testing.TB, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d walsenders", n), func() bool {
		return d.ask(t, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'walsender'") == strconv.Itoa(n)
	})
}

// replicas is a plan of a site for replication as the superuser, who is trusted.
func replicas(set func(*Settings)) plan {
	return plan{users: `"postgres" ""` + "\n" + `"` + lab.TrustUser + `" ""`, proxy: func(s *Settings) {
		s.MaxReplicationConn = 10
		if set != nil {
			set(s)
		}
	}}
}

// stream logs in for replication as the superuser.
func stream(t testing.TB, addr, value string) *client {
	t.Helper()
	return login(t, addr, "user", lab.Superuser, "replication", value)
}

// follow starts physical replication from the current end of the log.
func (c *client) follow(from string) {
	c.t.Helper()
	c.send(pgscript.Query("START_REPLICATION PHYSICAL " + from))
	if m, ok := c.receive().(*pgproto3.CopyBothResponse); !ok {
		c.t.Fatalf("%T in answer to START_REPLICATION", m)
	}
}

// TestReplicationCommands: the answers are those of a direct connection, simple
// queries only, and on both ports.
func TestReplicationCommands(t *testing.T) {
	pg := postgres(t, 0)
	there := node("n1", pg.Addr)
	p := replicas(nil)
	p.table = table(there, there)
	s := newSite(t, p)
	for _, addr := range []string{s.primary, s.replica} {
		for _, value := range []string{"true", "database"} {
			through, direct := stream(t, addr, value), stream(t, pg.Addr, value)
			for _, sql := range []string{"IDENTIFY_SYSTEM", "SHOW wal_segment_size", "SHOW application_name", "SELECT 1", "SELECT 1/0", "nonsense"} {
				got, want := through.query(sql), direct.query(sql)
				if fmt.Sprint(got.types, got.rows, got.tags, got.state()) != fmt.Sprint(want.types, want.rows, want.tags, want.state()) {
					t.Errorf("replication=%s, %s: got %+v, want %+v", value, sql, got, want)
				}
			}
			through.send(pgscript.Message('P', []byte("\x00SELECT 1\x00\x00\x00")), pgscript.Message('S', nil))
			if r := through.answer(); r.state() != "08P01" || r.ready != 'I' {
				t.Errorf("extended protocol: %+v, want an ERROR 08P01 and to go on", r)
			}
			through.send(pgscript.Message('F', []byte{0, 0, 0, 1, 0, 0, 0, 0, 0, 0}))
			if r := through.answer(); r.state() != "08P01" || r.ready != 'I' {
				t.Errorf("function call: %+v, want an ERROR 08P01 and to go on", r)
			}
			if through.query("IDENTIFY_SYSTEM").err != nil {
				t.Error("the connection is of no use after an error")
			}
			through.leave()
			direct.leave()
		}
	}
	pg.walsenders(t, 0)
}

// TestReplicationLimits: such clients count neither as clients nor in a pool, and
// have a limit of their own; what PostgreSQL says against them it says itself.
func TestReplicationLimits(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, replicas(func(set *Settings) { set.MaxClientConn, set.MaxReplicationConn = 1, 2 }))
	login(t, s.primary).exec("BEGIN") // the pool's one server, and the one client
	first, second := stream(t, s.primary, "1"), stream(t, s.primary, "database")
	pg.walsenders(t, 2)
	var kinds []string
	clients, err := s.proxy.ClientList(t.Context())
	servers, failed := s.pools.Servers(t.Context())
	for _, k := range append(clients, servers...) {
		kinds = append(kinds, k.Replication)
	}
	slices.Sort(kinds)
	if got := strings.Join(kinds, " "); err != nil || failed != nil || strings.TrimSpace(got) != "logical logical none physical physical" {
		t.Errorf("reported are %q, %v, %v", got, err, failed)
	}
	if _, err := tryLogin(t, s.primary, "user", lab.Superuser, "replication", "on"); code(err) != "53300" || !strings.Contains(err.Error(), "max_replication_connections") {
		t.Errorf("third: %v, want 53300 naming max_replication_connections", err)
	}
	first.leave()
	eventually(t, "its place is free", func() bool { return s.proxy.Clients() == 2 })
	_, err = tryLogin(t, s.primary, "replication", "on")
	_, want := tryLogin(t, pg.Addr, "replication", "on")
	if code(err) == "" || err.Error() != want.Error() {
		t.Errorf("without the privilege: %v, want %v", err, want)
	}
	third := stream(t, s.primary, "on")
	third.leave()
	second.leave()
	pg.walsenders(t, 0)
}

// TestReplicationStreams: data goes both ways, and CopyDone ends it in order.
func TestReplicationStreams(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, replicas(nil))
	c := stream(t, s.primary, "true")
	c.follow(pg.ask(t, "SELECT pg_current_wal_flush_lsn()"))
	pg.ask(t, "SELECT pg_logical_emit_message(false, 'test', 'through pgvip')")
	pg.ask(t, "SELECT pg_switch_wal()")
	var got []byte
	for !bytes.Contains(got, []byte("through pgvip")) {
		if m, ok := c.receive().(*pgproto3.CopyData); ok {
			got = append(got, m.Data...)
		}
	}
	// A Standby status update that asks for an answer.
	status := append(append([]byte{'r'}, make([]byte, 32)...), 1)
	c.send(pgscript.Message('d', status))
	for {
		if m, ok := c.receive().(*pgproto3.CopyData); ok && m.Data[0] == 'k' {
			break
		}
	}
	c.send(pgscript.Message('c', nil))
	if r := c.answer(); r.err != nil || r.ready != 'I' || !strings.HasSuffix(r.types, "CZ") {
		t.Errorf("the end of the stream: %+v", r)
	}
	if r := c.query("IDENTIFY_SYSTEM"); r.err != nil {
		t.Errorf("after the stream: %+v", r)
	}
	// An error in the middle, as of a segment that is gone.
	c.send(pgscript.Query("START_REPLICATION PHYSICAL FFF/0"))
	if r := c.answer(); r.err == nil || r.ready != 'I' {
		t.Errorf("from nowhere: %+v", r)
	}
	c.leave()
	pg.walsenders(t, 0)
}

// TestReplicationBackPressure: a client that does not read holds up its walsender,
// and costs bounded memory; everything comes in the end.
func TestReplicationBackPressure(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, replicas(nil))
	from := pg.ask(t, "SELECT pg_current_wal_flush_lsn()")
	const size = 20 << 20
	pg.ask(t, "SELECT count(pg_logical_emit_message(false, 'bulk', repeat('x', 1 << 20))) FROM generate_series(1, 20)")
	pg.ask(t, "SELECT pg_switch_wal()")
	end := pg.ask(t, "SELECT pg_current_wal_flush_lsn()")
	c := dialTo(t, s.primary)
	tcp := c.conn.(*net.TCPConn)
	tcp.SetReadBuffer(16 << 10)
	c.send(pgscript.Startup("user", lab.Superuser, "replication", "true"))
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	c.follow(from)
	eventually(t, "the stream is held up", func() bool { return s.queuedFor() == 1 })
	if n := s.memory(); n > 1<<20 {
		t.Errorf("%d bytes are held for a client that does not read", n)
	}
	// With a window smaller than a segment of loopback the kernels move some
	// kilobytes at each of their timers.
	tcp.SetReadBuffer(1 << 20)
	got := 0
	for got < size {
		if m, ok := c.receive().(*pgproto3.CopyData); ok && m.Data[0] == 'w' {
			got += len(m.Data) - 25
		}
	}
	c.leave()
	pg.walsenders(t, 0)
	t.Logf("%d bytes of log up to %s", got, end)
}

// TestReplicationEnds: however one side ends it, nothing is left of it, and
// nothing waits for an end of the stream.
func TestReplicationEnds(t *testing.T) {
	pg := postgres(t, 0)
	for _, test := range []struct {
		name string
		end  func(*site, *client)
		code string // what the client is told; empty when it has left
	}{
		{"Terminate", func(_ *site, c *client) { c.leave() }, ""},
		{"reset", func(_ *site, c *client) { c.reset() }, ""},
		{"half-close", func(_ *site, c *client) { c.closeWrite() }, ""},
		{"node leaves", func(s *site, _ *client) { s.proxy.SetTable(table(nil)) }, "57P01"},
		{"PAUSE", func(s *site, _ *client) { s.pools.Pause(lab.AppDatabase) }, "57P01"},
		{"RECONNECT", func(s *site, _ *client) { s.pools.Reconnect("") }, "57P01"},
		{"drain", func(s *site, _ *client) { go s.stop() }, "57P01"},
		{"walsender killed", func(*site, *client) {
			pg.ask(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'walsender'")
		}, "57P01"},
	} {
		for _, streaming := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, streaming %v", test.name, streaming), func(t *testing.T) {
				p := replicas(nil)
				p.table = table(nil, node("n1", pg.Addr))
				s := newSite(t, p)
				c := stream(t, s.replica, "true")
				if streaming {
					c.follow(pg.ask(t, "SELECT pg_current_wal_flush_lsn()"))
				}
				pg.walsenders(t, 1)
				test.end(s, c)
				if test.code != "" {
					if got := c.endOfStream(); got != test.code {
						t.Errorf("SQLSTATE %s, want %s", got, test.code)
					}
				}
				pg.walsenders(t, 0)
				eventually(t, "the session is forgotten", func() bool { return s.proxy.Clients() == 0 })
				s.stop()
			})
		}
	}
}

// endOfStream reads until the end and gives the SQLSTATE of the last error.
func (c *client) endOfStream() string {
	c.t.Helper()
	state := ""
	for {
		m, err := c.tryReceive()
		if err != nil {
			return state
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			state = e.Code
		}
	}
}

// TestReplicationWaits for a node, and for the end of a pause, as all logins do.
func TestReplicationWaits(t *testing.T) {
	pg := postgres(t, 0)
	p := replicas(func(set *Settings) { set.FailoverWaitTimeout = 0 })
	p.table = table(nil)
	s := newSite(t, p)
	s.pools.Pause(lab.AppDatabase)
	c := dialTo(t, s.primary)
	c.send(pgscript.Startup("user", lab.Superuser, "database", lab.AppDatabase, "replication", "true"))
	eventually(t, "it waits", func() bool { return s.proxy.count.streaming() == 1 })
	s.proxy.SetTable(table(node("n1", pg.Addr)))
	s.pools.Resume(lab.AppDatabase)
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	c.leave()
	s.proxy.SetTable(table(nil))
	c = dialTo(t, s.primary)
	c.send(pgscript.Startup("user", lab.Superuser, "database", lab.AppDatabase, "replication", "true"))
	eventually(t, "it waits", func() bool { return s.proxy.count.streaming() == 1 })
	s.stop()
	if got := c.fatal(); got != "57P03" {
		t.Errorf("SQLSTATE %s, want 57P03", got)
	}
}

// replicator is a site where PostgreSQL's own programs log in by SCRAM, with what
// they need in their environment.
func replicator(t *testing.T) (s *site, run func(name string, args ...string) *program) {
	t.Helper()
	pg := postgres(t, 0)
	verifier := pg.ask(t, "SELECT rolpassword FROM pg_authid WHERE rolname = '"+lab.ReplicationUser+"'")
	pg.ask(t, "GRANT CREATE ON DATABASE "+lab.AppDatabase+" TO "+lab.ReplicationUser)
	there := node("n1", pg.Addr)
	s = newSite(t, plan{
		table: table(there, there), users: `"` + lab.ReplicationUser + `" "` + verifier + `"`,
		proxy: func(set *Settings) { set.AuthMethod, set.MaxReplicationConn = auth.SCRAM, 10 },
		pool:  func(set *pool.Settings) { set.PoolSize = 1 },
	})
	return s, func(name string, args ...string) *program {
		t.Helper()
		host, port, err := net.SplitHostPort(s.primary)
		if err != nil {
			t.Fatal(err)
		}
		p := &program{t: t, done: make(chan error, 1)}
		p.cmd = exec.Command(filepath.Join("/usr/lib/postgresql/15/bin", name), args...)
		p.cmd.Env = append(os.Environ(), "PGHOST="+host, "PGPORT="+port, "PGUSER="+lab.ReplicationUser,
			"PGPASSWORD="+lab.ReplicationPassword, "PGSSLMODE=disable")
		p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
		if err := p.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			p.cmd.Process.Kill()
		})
		go func() { p.done <- p.cmd.Wait() }()
		return p
	}
}

// program is one of PostgreSQL's, running.
type program struct {
	t    *testing.T
	cmd  *exec.Cmd
	out  bytes.Buffer // to be read after the end
	done chan error
}

// succeeds waits for the end, which must be a good one.
func (p *program) succeeds() {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Fatalf("%s: %v\n%s", p.cmd.Path, err, &p.out)
		}
	case <-time.After(3 * patience):
		p.cmd.Process.Kill()
		p.t.Fatalf("%s does not end\n%s", p.cmd.Path, &p.out)
	}
}

// interrupted asks it to end, as Ctrl-C does.
func (p *program) interrupted() {
	p.t.Helper()
	p.cmd.Process.Signal(syscall.SIGINT)
	p.succeeds()
}

// TestBaseBackup: a backup taken through pgvip, with the log streamed beside it,
// is one.
func TestBaseBackup(t *testing.T) {
	_, run := replicator(t)
	dir := filepath.Join(t.TempDir(), "backup")
	run("pg_basebackup", "-D", dir, "-X", "stream", "--checkpoint=fast").succeeds()
	run("pg_verifybackup", "-q", dir).succeeds()
	postgres(t, 0).walsenders(t, 0)
}

// TestReceiveWAL: the log arrives, by a slot, and an interrupted receiver comes to
// an orderly end.
func TestReceiveWAL(t *testing.T) {
	pg := postgres(t, 0)
	_, run := replicator(t)
	dir := t.TempDir()
	run("pg_receivewal", "--slot=receiver", "--create-slot").succeeds()
	receiver := run("pg_receivewal", "-D", dir, "--slot=receiver", "--no-loop", "--synchronous", "-s", "1")
	eventually(t, "it streams", func() bool { // from where the log is then
		return pg.ask(t, "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
	})
	// Something first: at the beginning of a segment pg_walfile_name gives the one before.
	pg.ask(t, "SELECT pg_logical_emit_message(false, 'test', 'x')")
	segment := pg.ask(t, "SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
	pg.ask(t, "SELECT pg_switch_wal()")
	eventually(t, "the segment is there", func() bool {
		_, err := os.Stat(filepath.Join(dir, segment))
		return err == nil
	})
	receiver.interrupted()
	run("pg_receivewal", "--slot=receiver", "--drop-slot").succeeds()
	pg.walsenders(t, 0)
}

// TestReceiveLogical: changes come as test_decoding writes them.
func TestReceiveLogical(t *testing.T) {
	pg := postgres(t, 0)
	_, run := replicator(t)
	file := filepath.Join(t.TempDir(), "changes")
	args := []string{"-d", lab.AppDatabase, "--slot=decoder"}
	run("pg_recvlogical", append(args, "--create-slot", "--plugin=test_decoding")...).succeeds()
	receiver := run("pg_recvlogical", append(args, "--start", "--no-loop", "-F", "1", "-s", "1", "-f", file)...)
	pg.walsenders(t, 1)
	pg.ask(t, "INSERT INTO things VALUES (77, 'decoded')")
	eventually(t, "the change is there", func() bool {
		b, _ := os.ReadFile(file)
		return bytes.Contains(b, []byte("table public.things: INSERT: id[integer]:77 note[text]:'decoded'"))
	})
	receiver.interrupted()
	run("pg_recvlogical", append(args, "--drop-slot")...).succeeds()
	pg.ask(t, "DELETE FROM things WHERE id = 77")
	pg.walsenders(t, 0)
}

// TestSubscription: another PostgreSQL subscribes through pgvip, the copy of what
// is there included, and goes on when its stream was cut.
func TestSubscription(t *testing.T) {
	publisher, subscriber := postgres(t, 0), postgres(t, 1)
	s := newSite(t, replicas(nil))
	host, port, err := net.SplitHostPort(s.primary)
	if err != nil {
		t.Fatal(err)
	}
	publisher.ask(t, "CREATE TABLE shared (id int primary key)")
	publisher.ask(t, "INSERT INTO shared SELECT generate_series(1, 1000)")
	publisher.ask(t, "CREATE PUBLICATION everything FOR TABLE shared")
	subscriber.ask(t, "ALTER SYSTEM SET wal_retrieve_retry_interval = '100ms'")
	subscriber.ask(t, "SELECT pg_reload_conf()")
	subscriber.ask(t, "CREATE TABLE shared (id int primary key)")
	subscriber.ask(t, fmt.Sprintf("CREATE SUBSCRIPTION all_of_it CONNECTION 'host=%s port=%s user=%s dbname=%s sslmode=disable' PUBLICATION everything",
		host, port, lab.Superuser, lab.AppDatabase))
	defer func() {
		subscriber.ask(t, "DROP SUBSCRIPTION IF EXISTS all_of_it")
		subscriber.ask(t, "DROP TABLE shared")
		publisher.ask(t, "DROP PUBLICATION everything")
		publisher.ask(t, "DROP TABLE shared")
		publisher.walsenders(t, 0)
	}()
	has := func(n int) {
		t.Helper()
		eventually(t, fmt.Sprintf("%d rows are there", n), func() bool {
			return subscriber.ask(t, "SELECT count(*) FROM shared") == strconv.Itoa(n)
		})
	}
	has(1000)
	publisher.ask(t, "INSERT INTO shared SELECT generate_series(1001, 1500)")
	has(1500)
	s.pools.Reconnect("")
	publisher.ask(t, "INSERT INTO shared SELECT generate_series(1501, 2000)")
	has(2000)
}
