package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// startupOf is a startup packet of a version of the protocol.
func startupOf(version uint32, params ...string) []byte {
	packet := pgscript.Startup(append([]string{"user", lab.TrustUser, "database", lab.AppDatabase}, params...)...)
	binary.BigEndian.PutUint32(packet[4:], version)
	return packet
}

// loginWith logs in as the trusted user with a version of the protocol.
func loginWith(t testing.TB, addr string, version uint32) *client {
	t.Helper()
	c := reach(t, addr)
	c.send(startupOf(version))
	if err := c.welcomed(); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestProtocolVersions: what PostgreSQL 18.4 says to the same packets, byte for
// byte, and keys as long as its own.
func TestProtocolVersions(t *testing.T) {
	s := newSite(t, plan{})
	for _, test := range []struct {
		name        string
		version     uint32
		params      []string
		negotiation string // body of NegotiateProtocolVersion, empty for none
		key         int    // bytes of the secret
	}{
		{"3.0", 3 << 16, nil, "", 4},
		{"3.1", 3<<16 | 1, nil, "", 4},
		{"3.2", 3<<16 | 2, nil, "", 32},
		{"3.3", 3<<16 | 3, nil, "\x00\x03\x00\x02\x00\x00\x00\x00", 32},
		{"3.9999 with grease", 3<<16 | 9999, []string{"_pq_.test_protocol_negotiation", ""},
			"\x00\x03\x00\x02\x00\x00\x00\x01_pq_.test_protocol_negotiation\x00", 32},
		{"3.0 with extensions", 3 << 16, []string{"_pq_.b", "1", "_pq_.b", "2", "_pq_.a", ""},
			"\x00\x03\x00\x00\x00\x00\x00\x03_pq_.b\x00_pq_.b\x00_pq_.a\x00", 4},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := reach(t, s.primary)
			c.send(startupOf(test.version, test.params...))
			want := ""
			if test.negotiation != "" {
				want = string(pgscript.Message('v', []byte(test.negotiation)))
			}
			want += string(pgscript.AuthOK()) // so it comes once, and first
			got := make([]byte, len(want))
			if _, err := io.ReadFull(c.conn, got); err != nil || string(got) != want {
				t.Fatalf("the answer begins with %q (%v), want %q", got, err, want)
			}
			if err := c.welcomed(); err != nil {
				t.Fatal(err)
			}
			if len(c.key) != test.key {
				t.Errorf("a secret of %d bytes, want %d", len(c.key), test.key)
			}
			if c.value("SELECT 1") != "1" {
				t.Error("no session")
			}
		})
	}
}

// TestOtherMajorVersions are refused in PostgreSQL's words.
func TestOtherMajorVersions(t *testing.T) {
	s := newSite(t, plan{})
	for _, version := range []uint32{2 << 16, 4 << 16, 4<<16 | 1} {
		c := reach(t, s.primary)
		c.send(startupOf(version))
		err := c.welcomed()
		want := fmt.Sprintf("unsupported frontend protocol %d.%d: server supports 3.0 to 3.2", version>>16, version&0xffff)
		if code(err) != "0A000" || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want 0A000 %q", err, want)
		}
	}
}

// TestNegotiationWithPassword: the message comes once, before the exchange.
func TestNegotiationWithPassword(t *testing.T) {
	s := newSite(t, plan{users: passThrough(t), proxy: func(set *Settings) { set.AuthMethod = auth.SCRAM }})
	c := reach(t, s.primary)
	c.send(startupOf(3<<16|9999, "user", lab.AppUser))
	if _, ok := c.receive().(*pgproto3.NegotiateProtocolVersion); !ok {
		t.Fatal("no NegotiateProtocolVersion before anything else")
	}
	if _, ok := c.receive().(*pgproto3.AuthenticationSASL); !ok {
		t.Fatal("no authentication behind it")
	}
}

// TestCancelWithWrongKey does nothing, and says nothing.
func TestCancelWithWrongKey(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{proxy: func(set *Settings) { set.PeerID = 7 }})
	for _, version := range []uint32{wire.ProtocolVersion30, wire.ProtocolVersion32} {
		c := loginWith(t, s.primary, version)
		if peer := c.pid >> 23; peer != 7 {
			t.Errorf("process id %#x names peer %d, want 7", c.pid, peer)
		}
		c.send(pgscript.Query("SELECT pg_sleep(600)"))
		pg.sleeping(t, 1)
		wrong := slices.Clone(c.key)
		wrong[len(wrong)-1]++
		before := s.proxy.counters.CancelsWrong.Load()
		for _, key := range [][]byte{wrong, c.key[:len(c.key)-1], append(slices.Clone(c.key), 0), make([]byte, 256), c.key[:4:4]} {
			if len(key) >= 4 && !slices.Equal(key, c.key) {
				cancelWith(t, s.primary, c.pid, key)
				before++
			}
		}
		cancelWith(t, s.primary, c.pid+1, c.key)
		if got := s.proxy.counters.CancelsWrong.Load(); got != before+1 {
			t.Errorf("%d wrong keys counted, want %d", got, before+1)
		}
		cancelWith(t, s.primary, 0, make([]byte, 4))
		cancelWith(t, s.primary, c.pid&(1<<23-1)|8<<23, c.key)
		if n := s.pools.Counters().Cancels.Load(); n != 0 {
			t.Errorf("%d cancel requests sent", n)
		}
		c.cancel(s.primary)
		if r := c.answer(); r.state() != "57014" {
			t.Errorf("with the right key: %+v", r)
		}
		c.leave()
		s.pools.Counters().Cancels.Store(0)
	}
	if n := s.proxy.counters.CancelsForeign.Load(); n != 4 {
		t.Errorf("%d keys of other peers counted, want 4", n)
	}
}

// TestKeyGuessing: after some wrong keys an address is not listened to for a
// while, not even with a right one.
func TestKeyGuessing(t *testing.T) {
	pg := postgres(t, 0)
	s := newSite(t, plan{})
	c := login(t, s.primary)
	c.send(pgscript.Query("SELECT pg_sleep(600)"))
	pg.sleeping(t, 1)
	eventually(t, "requests are dropped", func() bool {
		cancelWith(t, s.primary, c.pid, []byte("nope"))
		return s.proxy.counters.CancelsIgnored.Load() > 0
	})
	if n := s.proxy.counters.CancelsWrong.Load(); n < guessBurst {
		t.Errorf("dropped after %d guesses, want %d", n, guessBurst)
	}
	c.reset()
	pg.sleeping(t, 0)
}

// TestServersWithLongKeysOrNone: whatever key a server has, it is used as it is;
// where it has none a cancel request does nothing, and is over at once.
func TestServersWithLongKeysOrNone(t *testing.T) {
	for _, key := range []string{"", "four", strings.Repeat("k", 256)} {
		t.Run(fmt.Sprint(len(key)), func(t *testing.T) {
			keyData := []byte(nil)
			if key != "" {
				keyData = pgscript.Message('K', []byte("\x00\x00\x00\x09"+key))
			}
			cancelled := make(chan struct{})
			goOn := make(chan struct{})
			server := pgscript.ServeEach(t,
				pgscript.Steps(pgscript.ExpectStartup(), pgscript.Send(pgscript.AuthOK(), pgscript.Statuses("off"), keyData, pgscript.Ready('I')),
					pgscript.Expect("Q"), pgscript.Wait(goOn), pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')), pgscript.ExpectGone()),
				pgscript.Steps(pgscript.ExpectStartup(), pgscript.ExpectBody("\x04\xd2\x16\x2e\x00\x00\x00\x09"+key), pgscript.Tell(cancelled), pgscript.Close()))
			s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
			c := loginWith(t, s.replica, wire.ProtocolVersion32)
			if len(c.key) != 32 || c.pid == 9 {
				t.Errorf("key %x of process %d is not our own", c.key, c.pid)
			}
			c.send(pgscript.Query("SELECT 1"))
			eventually(t, "it runs", func() bool { return s.phases()[bound] == 1 })
			c.cancel(s.replica)
			if key != "" {
				<-cancelled
			}
			close(goOn)
			if r := c.answer(); r.err != nil {
				t.Errorf("got %+v", r)
			}
		})
	}
}
