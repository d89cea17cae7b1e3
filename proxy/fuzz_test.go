package proxy

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/pool"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

// nullServer lets everybody in and answers each Query and Sync as if it had
// done what was asked.
type nullServer struct {
	listener net.Listener
	running  sync.WaitGroup
}

func (n *nullServer) serve() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.running.Go(func() { n.session(conn) })
	}
}

func (n *nullServer) session(conn net.Conn) {
	defer conn.Close()
	if _, err := conn.Read(make([]byte, 16<<10)); err != nil {
		return
	}
	conn.Write(slices.Concat(pgscript.AuthOK(), pgscript.Statuses("off"), pgscript.BackendKey(1, 2), pgscript.Ready('I')))
	var head [wire.HeaderSize]byte
	for {
		if _, err := io.ReadFull(conn, head[:]); err != nil {
			return
		}
		length := int64(head[1])<<24 | int64(head[2])<<16 | int64(head[3])<<8 | int64(head[4])
		if _, err := io.CopyN(io.Discard, conn, length-4); err != nil || head[0] == 'X' {
			return
		}
		answers := map[byte][]byte{
			'Q': slices.Concat(pgscript.Complete("SELECT 1"), pgscript.Ready('I')),
			'F': slices.Concat(pgscript.Message('V', []byte{0xff, 0xff, 0xff, 0xff}), pgscript.Ready('I')),
			'S': pgscript.Ready('I'), 'P': pgscript.Message('1', nil), 'B': pgscript.Message('2', nil),
			'C': pgscript.Message('3', nil), 'D': pgscript.Message('n', nil), 'E': pgscript.Complete("SELECT 1"),
		}
		conn.Write(answers[head[0]])
	}
}

// FuzzClient feeds a whole connection of a client's bytes to a proxy, split in
// two at any place: login, session and end. Nothing panics, nothing hangs, and
// the proxy is as empty afterwards as before.
func FuzzClient(f *testing.F) {
	startup := pgscript.Startup("user", "u", "database", "d")
	for _, b := range [][]byte{
		nil,
		startup,
		slices.Concat(startup, pgscript.Query("SELECT 1"), pgscript.Terminate()),
		slices.Concat(startup, pgscript.Query("SELECT 1"), pgscript.Query("SELECT 1")),
		slices.Concat(startup, pgscript.Message('P', []byte("\x00x\x00\x00\x00")), pgscript.Message('S', nil), pgscript.Message('H', nil)),
		slices.Concat(startup, pgscript.Message('P', []byte("\x00x\x00\x00\x00")), pgscript.Message('H', nil)),
		slices.Concat(startup, pgscript.Message('d', []byte("x")), pgscript.Message('c', nil), pgscript.Message('f', []byte("\x00"))),
		slices.Concat(startup, []byte{'Q', 0, 1, 0, 0, 'x'}),
		pgscript.Startup("user", "u", "options", "-c x=1 -e", "replication", "1", "_pq_.x", ""),
		pgscript.Startup("user", "u", "TimeZone", "UTC", "log_connections", "on"),
		slices.Concat(pgscript.Startup("user", "u", "x", "1"), pgscript.Query("RESET ALL"), pgscript.Query("SET x TO DEFAULT")),
		slices.Concat(pgscript.Startup("user", "u", "replication", "database"), pgscript.Query("IDENTIFY_SYSTEM"), pgscript.Message('c', nil)),
		startupOf(3<<16|9999, "_pq_.test_protocol_negotiation", ""),
		pgscript.SSLRequest(),
		pgscript.CancelRequest(1, 2),
		[]byte("GET / HTTP/1.0\r\n\r\n"),
	} {
		f.Add(b, uint16(0))
		f.Add(b, uint16(len(b)/2))
		f.Add(b, uint16(len(startup)+3))
	}
	users, err := auth.ParseUserList([]byte(`"u" ""`))
	if err != nil {
		f.Fatal(err)
	}
	p, addr := fuzzProxy(f, Settings{AuthMethod: auth.Trust, Users: users, MaxClientConn: 100, MaxReplicationConn: 10})
	f.Fuzz(func(t *testing.T, b []byte, at uint16) { sendAll(t, p, addr, b, at) })
}

// sendAll sends what a client has to say and waits until it is forgotten. It
// returns what came back.
func sendAll(t *testing.T, p *Proxy, addr string, b []byte, at uint16) []byte {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	split := min(int(at), len(b))
	conn.Write(b[:split])
	conn.Write(b[split:])
	conn.(*net.TCPConn).CloseWrite()
	got, err := io.ReadAll(conn)
	if slow, ok := err.(net.Error); ok && slow.Timeout() {
		t.Errorf("not closed; %d bytes came", len(got))
	}
	conn.Close()
	eventually(t, "the client is forgotten", func() bool { return p.Clients() == 0 && len(p.sessions.all()) == 0 })
	return got
}

// FuzzLogin feeds a client's bytes to a proxy that asks for a password in every
// way there is, by user: no bytes let anybody in who does not know one.
func FuzzLogin(f *testing.F) {
	for _, user := range []string{"scram", "md5", "plain", "cert", "peer", "nobody", "hash"} {
		startup := pgscript.Startup("user", user, "database", "d")
		for _, answer := range [][]byte{
			nil,
			initial("SCRAM-SHA-256", clientFirst),
			slices.Concat(initial("SCRAM-SHA-256", clientFirst), final("c=biws,r=NONCE"+someProof)),
			initialOf("SCRAM-SHA-256", -1, ""),
			pgscript.Message('p', pgscript.Strings("md5"+strings.Repeat("0", 32))),
			pgscript.Message('p', pgscript.Strings("guess")),
			pgscript.Query("SELECT 1"),
		} {
			f.Add(slices.Concat(startup, answer), uint16(len(startup)))
		}
	}
	random := make([]byte, 16)
	rand.Read(random)
	password := hex.EncodeToString(random)
	users, err := auth.ParseUserList([]byte(fmt.Sprintf("\"scram\" %[1]q\n\"md5\" %[1]q\n\"plain\" %[1]q\n\"cert\" %[1]q\n\"peer\" %[1]q\n\"hash\" %[2]q",
		password, auth.HashMD5(password, "hash"))))
	if err != nil {
		f.Fatal(err)
	}
	hba := hbaOf(f, "host all md5,hash all md5\nhost all plain all password\nhost all cert all cert\nlocal all peer peer\nhost all all all scram-sha-256", "")
	p, addr := fuzzProxy(f, Settings{HBA: hba, Users: users, MaxClientConn: 100})
	f.Fuzz(func(t *testing.T, b []byte, at uint16) {
		if got := sendAll(t, p, addr, b, at); bytes.Contains(got, wire.AppendAuthentication(nil, wire.AuthOk, nil)) {
			t.Errorf("let in: %q", got)
		}
	})
}

// fuzzProxy is a proxy in front of a null server, which ends with f.
func fuzzProxy(f *testing.F, settings Settings) (*Proxy, string) {
	backend, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	server := &nullServer{listener: backend}
	server.running.Go(server.serve)
	l, err := loop.New()
	if err != nil {
		f.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(l.Run)
	p := New(Options{Settings: settings, Loops: []*loop.Loop{l}, Log: zap.NewNop()})
	pools := pool.NewSet(pool.Options{Settings: pool.Settings{Rules: pool.Rules{PoolSize: 2, ServerResetQuery: "DISCARD ALL", ServerLifetime: time.Hour}},
		Loops: []*loop.Loop{l}, Log: zap.NewNop(), LoggedIn: p.LoggedIn})
	p.UsePools(pools)
	p.SetTable(table(node("n1", backend.Addr().String())))
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	p.Serve(front, route.Primary)
	f.Cleanup(func() {
		p.Shutdown(f.Context())
		pools.Close()
		l.Close()
		running.Wait()
		backend.Close()
		server.running.Wait()
	})
	return p, front.Addr().String()
}
