package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"slices"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// largeVar makes TestLargeBind send nearly 1 GB, the most that PostgreSQL takes, see
// make large. Its backend needs twice as much for it.
const largeVar = "PGVIP_LARGE"

const (
	usualBind = 64 << 20
	// largestBody is what PostgreSQL takes in the body of a message: the length that is
	// announced, 4 bytes more, may be MaxAllocSize - 1 (PQ_LARGE_MESSAGE_LIMIT).
	largestBody = 0x3fffffff - 1 - 4
)

// TestLargeBind streams a parameter, which costs pgvip no memory to speak of; with
// PGVIP_LARGE it is the largest that PostgreSQL takes, and one byte more is refused.
func TestLargeBind(t *testing.T) {
	p := sharedPgvip(t)
	body := usualBind
	large := os.Getenv(largeVar) != ""
	if large {
		body = largestBody
	}
	before := p.memory(t)
	if size, code := streamBind(t, p.primary, body); size != strconv.Itoa(body-bindOverhead) || code != "" {
		t.Errorf("PostgreSQL has got %s bytes of %d, error %q", size, body-bindOverhead, code)
	}
	grown := p.memory(t) - before
	t.Logf("pgvip grew by %d kB for a Bind of %d bytes", grown>>10, body)
	if grown > memoryGrowth {
		t.Errorf("pgvip grew by %d bytes", grown)
	}
	if !large {
		return
	}
	if _, code := streamBind(t, p.primary, largestBody+1); code != "08P01" {
		t.Errorf("one byte more: SQLSTATE %q, want 08P01", code)
	}
}

// bindOverhead is what a Bind of one binary parameter has around it: two empty names,
// its format, the count and length of the parameter, and no formats of results.
const bindOverhead = 2 + 4 + 2 + 4 + 2

// streamBind binds a parameter in a Bind with a body of so many bytes, and gives the
// length that PostgreSQL counts, or the SQLSTATE of its error.
func streamBind(t *testing.T, addr string, body int) (size, code string) {
	t.Helper()
	raw, err := connect(t, addr).PgConn().Hijack()
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Conn.Close()
	head := binary.BigEndian.AppendUint32([]byte{'B'}, uint32(body+4))
	head = append(head, 0, 0, 0, 1, 0, 1, 0, 1)
	head = binary.BigEndian.AppendUint32(head, uint32(body-bindOverhead))
	sent := make(chan error, 1)
	go func() {
		_, err := raw.Conn.Write(slices.Concat(pgscript.Parse("", "SELECT length($1::bytea)"), head))
		block := bytes.Repeat([]byte{'x'}, 1<<20)
		for left := body - bindOverhead; left > 0 && err == nil; left -= len(block) {
			_, err = raw.Conn.Write(block[:min(left, len(block))])
		}
		if err == nil {
			_, err = raw.Conn.Write(slices.Concat([]byte{0, 0}, pgscript.Execute(""), pgscript.Sync()))
		}
		sent <- err
	}()
	for in := pgproto3.NewFrontend(raw.Conn, io.Discard); ; {
		m, err := in.Receive()
		switch m := m.(type) {
		case *pgproto3.DataRow:
			size = string(m.Values[0])
		case *pgproto3.ErrorResponse:
			code = m.Code
			if m.Severity == "FATAL" {
				raw.Conn.Close() // what has not been sent yet is for nobody
				<-sent
				return size, code
			}
		case *pgproto3.ReadyForQuery:
			return size, code
		}
		if err != nil {
			t.Fatalf("%v; sent: %v", err, <-sent)
		}
	}
}
