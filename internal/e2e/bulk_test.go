package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/pgscript"
)

const (
	copySize = 50 << 20

	// resultRows of a thousand bytes make 100 MB.
	resultRows = 100_000

	// memoryGrowth is what 100 MB on their way may cost pgvip at most: its
	// buffers, and what the garbage collector has not looked at yet.
	memoryGrowth = 24 << 20
)

// lines gives copySize bytes of COPY text without holding them.
type lines struct {
	left int
	rest []byte
	n    int
}

// Read implements io.Reader.
func (l *lines) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		if l.left <= 0 {
			return 0, io.EOF
		}
		var block bytes.Buffer
		for block.Len() < 32<<10 {
			fmt.Fprintf(&block, "%d\t%s\n", l.n, strings.Repeat("abcdefgh", 12))
			l.n++
		}
		l.rest = block.Bytes()
		l.left -= len(l.rest)
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func TestCopyFiftyMegabytes(t *testing.T) {
	p := sharedPgvip(t)
	direct, _ := ports(t, sessions())
	before := p.memory(t)
	conn := connect(t, p.primary).PgConn()
	execute(t, conn, "CREATE UNLOGGED TABLE bulk (a int, b text)")
	defer execute(t, connect(t, direct[0].addr).PgConn(), "DROP TABLE bulk")
	start := time.Now()
	source := &lines{left: copySize}
	tag, err := conn.CopyFrom(t.Context(), source, "COPY bulk FROM STDIN")
	if err != nil {
		t.Fatal(err)
	}
	if tag.RowsAffected() != int64(source.n) {
		t.Errorf("%d rows arrived, %d were sent", tag.RowsAffected(), source.n)
	}
	t.Logf("in: %v", time.Since(start))
	start = time.Now()
	got, want := copyOut(t, conn), copyOut(t, connect(t, direct[0].addr).PgConn())
	t.Logf("out twice: %v", time.Since(start))
	if got.size < copySize || got != want {
		t.Errorf("COPY TO gave %+v, directly %+v", got, want)
	}
	if grown := p.memory(t) - before; grown > memoryGrowth {
		t.Errorf("pgvip grew by %d bytes", grown)
	}
}

// digest is what is kept of a large stream.
type digest struct {
	size int
	sum  string
}

type digester struct {
	hash.Hash
	size int
}

// Write implements io.Writer.
func (d *digester) Write(p []byte) (int, error) {
	d.size += len(p)
	return d.Hash.Write(p)
}

func copyOut(t *testing.T, conn *pgconn.PgConn) digest {
	t.Helper()
	d := &digester{Hash: sha256.New()}
	if _, err := conn.CopyTo(t.Context(), d, "COPY bulk TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	return digest{d.size, fmt.Sprintf("%x", d.Sum(nil))}
}

func execute(t *testing.T, conn *pgconn.PgConn, sql string) {
	t.Helper()
	if _, err := conn.Exec(context.Background(), sql).ReadAll(); err != nil {
		t.Fatal(err)
	}
}

func TestResultOfAHundredMegabytes(t *testing.T) {
	p := sharedPgvip(t)
	before := p.memory(t)
	for _, addr := range []string{p.primary, p.replicas} {
		conn := connect(t, addr).PgConn()
		results := conn.ExecParams(t.Context(), bigQuery, nil, nil, nil, nil)
		rows := 0
		for results.NextRow() {
			if got := len(results.Values()[0]); got != 1000 {
				t.Fatalf("row %d has %d bytes", rows, got)
			}
			rows++
		}
		if _, err := results.Close(); err != nil || rows != resultRows {
			t.Errorf("%s: %d rows, %v, want %d", addr, rows, err, resultRows)
		}
	}
	if grown := p.memory(t) - before; grown > memoryGrowth {
		t.Errorf("pgvip grew by %d bytes", grown)
	}
}

var bigQuery = fmt.Sprintf("SELECT repeat('x', 1000) FROM generate_series(1, %d)", resultRows)

// TestSlowReaderStallsNobody: a client that asks for 100 MB (PGVIP_LARGE: 1 GB) and reads nothing
// costs bounded memory, and the others keep their speed.
func TestSlowReaderStallsNobody(t *testing.T) {
	p := sharedPgvip(t)
	rows := resultRows
	if os.Getenv(largeVar) != "" {
		rows *= 10 // 1 GB
	}
	query := pgscript.Query(fmt.Sprintf("SELECT repeat('x', 1000) FROM generate_series(1, %d)", rows))
	before := p.memory(t)
	slow := connect(t, p.primary).PgConn()
	raw, err := slow.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Conn.Close()
	if _, err := raw.Conn.Write(query); err != nil {
		t.Fatal(err)
	}
	stuck(t, raw.Conn)

	others := connect(t, p.primary)
	var worst time.Duration
	for range 200 {
		start := time.Now()
		if _, err := others.Exec(t.Context(), "SELECT 1"); err != nil {
			t.Fatal(err)
		}
		worst = max(worst, time.Since(start))
	}
	t.Logf("slowest of 200 queries beside a slow reader: %v", worst)
	if worst > time.Second {
		t.Errorf("a query took %v beside a slow reader", worst)
	}
	grown := p.memory(t) - before
	t.Logf("pgvip grew by %d kB for %d unread rows", grown>>10, rows)
	if grown > memoryGrowth {
		t.Errorf("pgvip grew by %d bytes", grown)
	}
	// And then the reader wakes up and gets all of it.
	n, err := io.CopyN(io.Discard, raw.Conn, int64(rows)*1000)
	if err != nil {
		t.Errorf("after waking up the reader got %d bytes: %v", n, err)
	}
}

// stuck waits until no more bytes come in, because every buffer on the way is
// full. The receive queue is looked at, not read.
func stuck(t *testing.T, conn net.Conn) {
	t.Helper()
	last := -1
	for start := time.Now(); time.Since(start) < driverLimit; {
		queued := receiveQueue(t, conn)
		if queued > 0 && queued == last {
			return
		}
		last = queued
		<-time.After(100 * time.Millisecond)
	}
	t.Fatal("the receive queue never settles")
}

// memory is the resident memory of pgvip that is its own, in bytes.
func (p *process) memory(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.cmd.Process.Pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "RssAnon:"); ok {
			kb, err := strconv.Atoi(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")))
			if err != nil {
				t.Fatal(err)
			}
			return kb << 10
		}
	}
	t.Fatal("no RssAnon in /proc")
	return 0
}
