package proxy

import (
	"bytes"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestHostileServer: whatever a server sends out of turn ends its connection,
// and its client is told so; nothing hangs and nobody else hears of it.
func TestHostileServer(t *testing.T) {
	huge := []byte{'T', 0x7f, 0xff, 0xff, 0xff, 0, 0}
	for _, test := range []struct {
		name string
		send []byte // in answer to a Query
	}{
		{"unknown type", pgscript.Message('?', nil)},
		{"a client's message", pgscript.Query("SELECT 1")},
		{"authentication in mid-session", pgscript.AuthOK()},
		{"second key", pgscript.BackendKey(1, 2)},
		{"length 0", []byte{'C', 0, 0, 0, 0}},
		{"length 3", []byte{'C', 0, 0, 0, 3}},
		{"negative length", []byte{'C', 0xff, 0xff, 0xff, 0xff}},
		{"length 2^31-1 and the end", huge},
		{"ReadyForQuery too short", []byte{'Z', 0, 0, 0, 4}},
		{"ReadyForQuery too long", []byte{'Z', 0, 0, 0, 6, 'I', 'I'}},
		{"ReadyForQuery of 20 KB", append([]byte{'Z', 0, 0, 0x4e, 0x20}, make([]byte, 19996)...)},
		{"ReadyForQuery with no known status", []byte{'Z', 0, 0, 0, 5, '?'}},
		{"reply of the extended protocol", pgscript.Message('1', nil)},
		{"ReadyForQuery twice", slices.Concat(pgscript.Ready('I'), pgscript.Ready('I'))},
		{"row after the end", slices.Concat(pgscript.Complete("SELECT 1"), pgscript.Ready('I'), pgscript.Row("x"))},
		{"ParameterStatus without a value", pgscript.Message('S', []byte("x\x00"))},
		{"ParameterStatus without an end", pgscript.Message('S', []byte("xxxx"))},
		{"error without fields, and the end", pgscript.Message('E', nil)},
		{"nothing and the end", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			end := pgscript.ExpectGone()
			if strings.HasSuffix(test.name, "the end") {
				end = pgscript.Close()
			}
			s := scripted(t, pgscript.Expect("Q"), pgscript.Send(test.send), end)
			c := login(t, s.replica)
			c.send(pgscript.Query("SELECT 1"))
			var last byte
			for {
				b := make([]byte, 64<<10)
				n, err := c.conn.Read(b)
				if i := bytes.LastIndex(b[:n], []byte("C08")); i >= 0 {
					last = 'E'
				}
				if err != nil {
					break
				}
			}
			if last != 'E' {
				t.Error("the client was not told that its server was lost")
			}
			eventually(t, "the session is over", func() bool { return s.proxy.Clients() == 0 })
		})
	}
}

// TestServerEndsInEachPhase: a client is served by the next server as long as
// nothing of its own was sent, and none is asked again without a pause.
func TestServerEndsInEachPhase(t *testing.T) {
	prepared := pgscript.Steps(pgscript.Expect("Q"), pgscript.ExpectBody("set_config"))
	ok := pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I'))
	good := pgscript.Steps(pgscript.AcceptLogin(), prepared, ok, pgscript.Expect("Q"), ok, pgscript.ExpectGone())
	half := []byte{'C', 0, 0}
	for _, test := range []struct {
		name string
		bad  pgscript.Step
	}{
		{"accept", pgscript.Reset()},
		{"startup", pgscript.Steps(pgscript.ExpectStartup(), pgscript.Close())},
		{"authentication", pgscript.Steps(pgscript.ExpectStartup(), pgscript.Send(pgscript.AuthOK()), pgscript.Reset())},
		{"welcome", pgscript.Steps(pgscript.ExpectStartup(), pgscript.Send(pgscript.AuthOK(), pgscript.Statuses("on")), pgscript.Close())},
		{"nonsense for a welcome", pgscript.Steps(pgscript.ExpectStartup(), pgscript.Send(pgscript.Query("SELECT 1")), pgscript.ExpectGone())},
		{"starting up", pgscript.Steps(pgscript.ExpectStartup(), pgscript.Send(pgscript.Error("FATAL", "57P03", "starting up")), pgscript.Close())},
		{"ready", pgscript.Steps(pgscript.AcceptLogin(), pgscript.Close())},
		{"preparing", pgscript.Steps(pgscript.AcceptLogin(), prepared, pgscript.Reset())},
		{"preparing, FATAL", pgscript.Steps(pgscript.AcceptLogin(), prepared, pgscript.Send(pgscript.Error("FATAL", "57P01", "bye")), pgscript.Close())},
		{"preparing, half an answer", pgscript.Steps(pgscript.AcceptLogin(), prepared, pgscript.Send(half), pgscript.Close())},
		{"preparing, nonsense", pgscript.Steps(pgscript.AcceptLogin(), prepared, pgscript.Send(pgscript.Message('1', nil)), pgscript.ExpectGone())},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := pgscript.ServeEach(t,
				pgscript.Steps(pgscript.AcceptLogin(), pgscript.ExpectGone()), // for the welcome
				test.bad, good)
			s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
			c := login(t, s.replica, "work_mem", "5MB")
			started := time.Now()
			if r := c.query("SELECT 1"); r.err != nil {
				t.Errorf("got %v", refusal(r.err))
			}
			if took := time.Since(started); took < 50*time.Millisecond {
				t.Errorf("the next server was asked after %v, without a pause", took)
			}
		})
	}
}

// TestServerEndsWhileResetting: its next client gets another one.
func TestServerEndsWhileResetting(t *testing.T) {
	ok := pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I'))
	for _, test := range []struct {
		name string
		end  pgscript.Step
	}{
		{"reset", pgscript.Reset()},
		{"error", pgscript.Steps(pgscript.Send(pgscript.Error("ERROR", "42501", "no"), pgscript.Ready('I')), pgscript.ExpectGone())},
		{"still in a transaction", pgscript.Steps(pgscript.Send(pgscript.Complete("DISCARD ALL"), pgscript.Ready('T')), pgscript.ExpectGone())},
		{"nonsense", pgscript.Steps(pgscript.Send(pgscript.Row("x"), pgscript.Row("y"), pgscript.Message('2', nil)), pgscript.ExpectGone())},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := pgscript.ServeEach(t,
				pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), ok, pgscript.Expect("Q"), pgscript.ExpectBody("DISCARD ALL"), test.end),
				pgscript.Steps(pgscript.AcceptLogin(), pgscript.Expect("Q"), pgscript.ExpectBody("SELECT 2"), ok, pgscript.ExpectGone()))
			s := newSite(t, plan{table: table(nil, node("n1", server.Addr))})
			first := login(t, s.replica)
			first.exec("SELECT 1")
			first.leave()
			login(t, s.replica).exec("SELECT 2")
		})
	}
}

// TestHostileClient: what a logged-in client may not send ends its session with
// 08P01 and costs no server.
func TestHostileClient(t *testing.T) {
	s := newSite(t, plan{})
	for _, test := range []struct {
		name  string
		bytes []byte
	}{
		{"unknown type", pgscript.Message('?', nil)},
		{"type 0", []byte{0, 0, 0, 0, 8, 1, 2, 3, 4}},
		{"password message", pgscript.Message('p', []byte("x\x00"))},
		{"a server's message", pgscript.Columns("x")},
		{"length 0", []byte{'Q', 0, 0, 0, 0}},
		{"length 3", []byte{'Q', 0, 0, 0, 3}},
		{"length 2^32-1", []byte{'Q', 0xff, 0xff, 0xff, 0xff}},
		{"unknown type of an impossible length", []byte{'?', 0xff, 0xff, 0xff, 0xff}},
		{"one byte of no message", []byte{'?'}},
	} {
		for _, phase := range []string{"resting", "bound", "behind a query"} {
			t.Run(test.name+", "+phase, func(t *testing.T) {
				c := login(t, s.primary)
				if phase == "bound" {
					c.exec("SELECT 1")
				}
				if phase == "behind a query" {
					c.send(pgscript.Query("SELECT 1"), test.bytes)
				} else {
					c.send(test.bytes)
				}
				if phase == "behind a query" {
					if r := c.answer(); r.types != "TDCZ" {
						t.Errorf("the query was answered by %q", r.types)
					}
				}
				if got := c.fatal(); got != "08P01" {
					t.Errorf("SQLSTATE %s, want 08P01", got)
				}
				next := login(t, s.primary)
				next.exec("SELECT 1")
				next.leave()
			})
		}
	}
}
