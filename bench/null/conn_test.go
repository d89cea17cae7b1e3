package null

import (
	"bytes"
	"net"
	"testing"
	"time"

	"github.com/jackc/pgproto3/v2"
)

// dialogue is what a client may send: startup, a simple query, a batch with a
// named and an unnamed statement, an error inside a batch, COPY, Terminate.
func dialogue() []byte {
	return encode(
		&pgproto3.StartupMessage{ProtocolVersion: 196608, Parameters: map[string]string{"user": "app"}},
		&pgproto3.Query{String: "SELECT null_rows(3, 10); SET application_name = 'x'"},
		&pgproto3.Parse{Name: "s", Query: "SELECT abalance FROM a WHERE aid = $1"},
		&pgproto3.Describe{ObjectType: 'S', Name: "s"},
		&pgproto3.Sync{},
		&pgproto3.Bind{PreparedStatement: "s", Parameters: [][]byte{[]byte("1")}, ResultFormatCodes: []int16{1}},
		&pgproto3.Describe{ObjectType: 'P'},
		&pgproto3.Execute{},
		&pgproto3.Close{ObjectType: 'S', Name: "s"},
		&pgproto3.Sync{},
		&pgproto3.Bind{PreparedStatement: "s"},
		&pgproto3.Execute{},
		&pgproto3.Sync{},
		&pgproto3.Query{String: "COPY t FROM STDIN"},
		&pgproto3.CopyData{Data: []byte("1\n")},
		&pgproto3.CopyDone{},
		&pgproto3.Query{String: ""},
		&pgproto3.Terminate{},
	)
}

func encode(messages ...pgproto3.FrontendMessage) []byte {
	var b []byte
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			panic(err)
		}
	}
	return b
}

func session() *conn { return newConn(&Server{}, nil) }

// replay feeds b whole or in pieces and returns what would be sent.
func replay(b []byte, piece int) []byte {
	c := session()
	for held, at := 0, 0; ; {
		at = min(at+piece, len(b))
		used, err := c.feed(b[held:at])
		held += used
		if err != nil || at == len(b) {
			return c.out
		}
	}
}

func TestSplitMakesNoDifference(t *testing.T) {
	b := dialogue()
	want := replay(b, len(b))
	for piece := 1; piece < len(b); piece++ {
		if got := replay(b, piece); !bytes.Equal(got, want) {
			t.Fatalf("in pieces of %d bytes: %q\nwant %q", piece, got, want)
		}
	}
}

func TestBatchIsAnsweredInOrder(t *testing.T) {
	var got []byte
	for out := replay(dialogue(), 1<<20); len(out) > 0; {
		got = append(got, out[0])
		out = out[1+int(out[1])<<24+int(out[2])<<16+int(out[3])<<8+int(out[4]):]
	}
	// R, 13 S, K, Z; two statements and the S of SET; the batches; the error
	// after which Execute is skipped; COPY; the empty query.
	want := "R" + "SSSSSSSSSSSSS" + "KZ" + "TDDDCCSZ" + "1tTZ" + "2TDC3Z" + "EZ" + "GCZ" + "IZ"
	if string(got) != want {
		t.Errorf("messages %s\n    want %s", got, want)
	}
}

func TestQueriesAllocateNothing(t *testing.T) {
	simple := encode(&pgproto3.Query{String: "SELECT abalance FROM pgbench_accounts WHERE aid = 12345;"})
	batch := encode(
		&pgproto3.Parse{Query: "SELECT abalance FROM pgbench_accounts WHERE aid = $1;"},
		&pgproto3.Bind{Parameters: [][]byte{[]byte("12345")}},
		&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{},
	)
	big := encode(&pgproto3.Query{String: "SELECT null_rows(100, 100)"})
	for name, b := range map[string][]byte{"simple": simple, "extended": batch, "big": big} {
		c := session()
		c.started = true
		got := testing.AllocsPerRun(100, func() {
			c.out = c.out[:0]
			if used, err := c.feed(b); err != nil || used != len(b) {
				t.Fatalf("%s: used %d, %v", name, used, err)
			}
		})
		if got != 0 {
			t.Errorf("%s: %v allocations a query, want 0", name, got)
		}
	}
}

// writes counts the writes that reach a socket.
type writes struct {
	net.Conn
	sizes []int
}

func (w *writes) Write(b []byte) (int, error) {
	w.sizes = append(w.sizes, len(b))
	return len(b), nil
}

func (w *writes) Read([]byte) (int, error) { return 0, net.ErrClosed }

func (w *writes) SetDeadline(time.Time) error { return nil }

func TestMegabyteLeavesInOneWrite(t *testing.T) {
	w := &writes{}
	c := newConn(&Server{}, w)
	c.started = true
	b := encode(&pgproto3.Query{String: "SELECT null_rows(10000, 100)"})
	if _, err := c.feed(b); err != nil {
		t.Fatal(err)
	}
	if err := c.flush(); err != nil || len(w.sizes) != 1 || w.sizes[0] < 1<<20 {
		t.Errorf("writes of %v bytes, %v; want one of more than 1 MB", w.sizes, err)
	}
}

func FuzzFeed(f *testing.F) {
	f.Add(dialogue())
	f.Add([]byte{0, 0, 0, 8, 4, 210, 22, 47})
	f.Fuzz(func(t *testing.T, b []byte) {
		c := session()
		whole, wholeErr := c.feed(b)
		if whole > len(b) {
			t.Fatalf("used %d of %d bytes", whole, len(b))
		}
		// Byte by byte gives the same replies.
		if wholeErr == nil && len(b) < 4096 && !bytes.Equal(replay(b, 1), c.out) {
			t.Error("split input is answered differently")
		}
	})
}
