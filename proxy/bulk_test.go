package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
)

// TestCopy moves 20 MB in and out again: more than all buffers on the way hold.
func TestCopy(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary)
	c.exec("CREATE TEMP TABLE bulk (n int, filler text)")
	const rows = 100_000
	filler := strings.Repeat("x", 200)
	var data bytes.Buffer
	for i := range rows {
		data.Write(pgscript.Message('d', fmt.Appendf(nil, "%d\t%s\n", i, filler)))
	}
	data.Write(pgscript.Message('c', nil))
	c.send(pgscript.Query("COPY bulk FROM STDIN"))
	c.send(data.Bytes())
	if r := c.answer(); r.err != nil || len(r.tags) != 1 || r.tags[0] != fmt.Sprint("COPY ", rows) {
		t.Fatalf("COPY FROM: %v, %v", r.tags, r.err)
	}
	c.send(pgscript.Query("COPY (SELECT n, filler FROM bulk ORDER BY n) TO STDOUT"))
	for i := 0; ; {
		switch m := c.receive().(type) {
		case *pgproto3.CopyData:
			if want := fmt.Sprintf("%d\t%s\n", i, filler); string(m.Data) != want {
				t.Fatalf("row %d: %.40q", i, m.Data)
			}
			i++
		case *pgproto3.ReadyForQuery:
			if i != rows {
				t.Errorf("%d rows, want %d", i, rows)
			}
			return
		}
	}
}

// TestServerThatDoesNotRead stops its client, and lets it go on when it reads.
func TestServerThatDoesNotRead(t *testing.T) {
	read := make(chan struct{})
	const size = 16 << 20
	query := pgscript.Query(strings.Repeat("x", size))
	s := scripted(t, pgscript.Wait(read), pgscript.ExpectBytes(query),
		pgscript.Send(pgscript.Complete("SELECT 1"), pgscript.Ready('I')), pgscript.ExpectGone())
	c := login(t, s.replica)
	sent := make(chan error, 1)
	go func() {
		_, err := c.conn.Write(query)
		sent <- err
	}()
	eventually(t, "the client is stopped", func() bool { return s.paused() == 1 })
	if held := s.memory(); held > 1<<20 {
		t.Errorf("%d bytes kept", held)
	}
	close(read)
	if r := c.answer(); r.err != nil {
		t.Errorf("got %v", refusal(r.err))
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

// TestMessageSizes around every bound on the way, in both directions.
func TestMessageSizes(t *testing.T) {
	s := newSite(t, plan{})
	c := login(t, s.primary)
	for _, around := range []int{512, 4 << 10, 16 << 10, 48 << 10, 64 << 10, 128 << 10, 1 << 20} {
		for n := around - 12; n <= around+12; n++ {
			want := strings.Repeat("y", n)
			r := c.query("SELECT '" + want + "'")
			if r.err != nil || len(r.rows) != 1 || r.rows[0] != want {
				t.Fatalf("%d bytes: %d rows, %v", n, len(r.rows), r.err)
			}
		}
	}
}

// TestLastWordsForASlowReader: a server that closes behind a large result takes
// nothing of it away, though its end is seen before the result has been read.
func TestLastWordsForASlowReader(t *testing.T) {
	row := pgscript.Row(strings.Repeat("x", 1000))
	sites := make(chan *site, 1)
	rows := make(chan int, 1)
	s := scripted(t, pgscript.Expect("Q"), pgscript.Send(pgscript.Columns("x")), func(c *pgscript.Conn) error {
		s, n := <-sites, 0
		for ; s.queuedFor() == 0; n += 64 {
			if _, err := c.Write(bytes.Repeat(row, 64)); err != nil {
				return err
			}
		}
		rows <- n
		return nil
	}, pgscript.Send(row, pgscript.Error("FATAL", "57P01", "last words")), pgscript.Close())
	c := login(t, s.replica)
	c.send(pgscript.Query("SELECT 1"))
	sites <- s
	want := <-rows + 1
	if r := c.answer(); len(r.rows) != want || r.state() != "57P01" {
		t.Errorf("%d rows, %v; want %d and the last words", len(r.rows), r.err, want)
	}
}

// TestLastRequestsOfAFastWriter: a client that ends behind more requests than its
// server takes at once gets all the replies, though its end is seen before the
// requests have been read.
func TestLastRequestsOfAFastWriter(t *testing.T) {
	read, queries := make(chan struct{}), make(chan int, 1)
	query := pgscript.Query("SELECT '" + strings.Repeat("x", 1000) + "'")
	reply := append(pgscript.Complete("SELECT 1"), pgscript.Ready('I')...)
	s := scripted(t, pgscript.Wait(read), func(c *pgscript.Conn) error {
		n := <-queries
		return pgscript.Steps(pgscript.Expect(strings.Repeat("Q", n)), pgscript.Send(bytes.Repeat(reply, n)))(c)
	}, pgscript.ExpectGone())
	c := login(t, s.replica)
	n := 0
	for ; s.paused() == 0; n += 64 {
		c.send(bytes.Repeat(query, 64))
	}
	c.send(query)
	n++
	c.closeWrite()
	s.onLoops(func(*loop.Loop) {}) // its end has been seen
	close(read)
	queries <- n
	for i := range n {
		if r := c.answer(); r.types != "CZ" {
			t.Fatalf("query %d of %d: %q, %v", i, n, r.types, r.err)
		}
	}
	c.gone()
}
