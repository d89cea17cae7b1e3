package proxy

import (
	"encoding/binary"
	"strconv"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// functionCall builds a FunctionCall with arguments and result in binary.
func functionCall(oid uint32, args ...[]byte) []byte {
	b := binary.BigEndian.AppendUint32(nil, oid)
	b = append(b, int16s(1, 1, uint16(len(args)))...)
	for _, arg := range args {
		b = binary.BigEndian.AppendUint32(b, uint32(len(arg)))
		b = append(b, arg...)
	}
	return pgscript.Message('F', append(b, int16s(1)...))
}

// call runs a function by the fast path.
func (c *client) call(oid uint32, args ...[]byte) []byte {
	c.t.Helper()
	c.send(functionCall(oid, args...))
	v, ok := c.receive().(*pgproto3.FunctionCallResponse)
	if !ok {
		c.t.Fatal("no FunctionCallResponse")
	}
	result := append([]byte(nil), v.Result...)
	if _, ok := c.receive().(*pgproto3.ReadyForQuery); !ok {
		c.t.Fatal("no ReadyForQuery behind it")
	}
	return result
}

// TestLargeObjects: what libpq and pgjdbc do with large objects, by FunctionCall,
// inside a transaction, in every mode; an error ends none of it.
func TestLargeObjects(t *testing.T) {
	t.Run("session mode", func(t *testing.T) { largeObjects(t, pool.SessionMode) })
	t.Run("transaction mode", func(t *testing.T) { largeObjects(t, pool.TransactionMode) })
}

func largeObjects(t *testing.T, mode pool.Mode) {
	s := newSite(t, plan{pool: func(set *pool.Settings) { set.Mode = mode }})
	c := login(t, s.primary)
	oid := func(name string) uint32 {
		n, err := strconv.ParseUint(c.value("SELECT oid FROM pg_proc WHERE proname = '"+name+"' AND pronamespace = 'pg_catalog'::regnamespace"), 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		return uint32(n)
	}
	creat, open, write, read, unlink := oid("lo_creat"), oid("lo_open"), oid("lowrite"), oid("loread"), oid("lo_unlink")
	const readWrite = 0x60000
	how := binary.BigEndian.AppendUint32(nil, readWrite)
	c.exec("BEGIN")
	id := c.call(creat, how)
	fd := c.call(open, id, how)
	if n := c.call(write, fd, []byte("by the fast path")); binary.BigEndian.Uint32(n) != 16 {
		t.Errorf("%d bytes written", binary.BigEndian.Uint32(n))
	}
	c.exec("COMMIT; BEGIN")
	fd = c.call(open, id, how)
	if got := c.call(read, fd, binary.BigEndian.AppendUint32(nil, 100)); string(got) != "by the fast path" {
		t.Errorf("read %q", got)
	}
	c.exec("COMMIT")
	c.call(unlink, id) // a transaction of its own
	c.send(functionCall(open, id, how), pgscript.Query("SELECT 1"))
	if r := c.answer(); r.state() != "42704" || r.types != "EZ" {
		t.Errorf("an object that is gone: %+v, want 42704", r)
	}
	if r := c.answer(); r.err != nil || r.rows[0] != "1" {
		t.Errorf("behind the error: %+v", r)
	}
	c.leave()
	other := login(t, s.primary)
	other.exec("SELECT 1")
	other.leave()
}
