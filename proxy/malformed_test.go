package proxy

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/pool"
)

// malformed are messages with something wrong inside, of a right length.
func malformed() map[string][]byte {
	raw := func(kind byte, parts ...any) []byte {
		var body []byte
		for _, part := range parts {
			switch part := part.(type) {
			case string:
				body = append(body, part...)
			case int:
				body = binary.BigEndian.AppendUint16(body, uint16(part))
			}
		}
		return pgscript.Message(kind, body)
	}
	good := pgscript.Parse("", "SELECT $1::text")
	return map[string][]byte{
		"Query, empty":                 raw('Q'),
		"Query, not terminated":        raw('Q', "SELECT 1"),
		"Query, two texts":             raw('Q', "SELECT 1\x00SELECT 2\x00"),
		"Query, a byte behind":         raw('Q', "SELECT 1\x00x"),
		"Query, only zero bytes":       raw('Q', "\x00\x00\x00"),
		"Parse, empty":                 raw('P'),
		"Parse, name not terminated":   raw('P', "name"),
		"Parse, no text":               raw('P', "name\x00"),
		"Parse, text not terminated":   raw('P', "name\x00SELECT 1"),
		"Parse, no count":              raw('P', "name\x00SELECT 1\x00"),
		"Parse, half a count":          raw('P', "name\x00SELECT 1\x00\x00"),
		"Parse, unnamed, no count":     raw('P', "\x00SELECT 1\x00"),
		"Parse, type missing":          raw('P', "name\x00SELECT 1\x00", 1),
		"Parse, half a type":           raw('P', "name\x00SELECT 1\x00", 1, 0),
		"Parse, 65535 types missing":   raw('P', "name\x00SELECT 1\x00", 0xffff),
		"Parse, bytes behind":          raw('P', "name\x00SELECT 1\x00", 0, "more"),
		"Parse, unnamed, bytes behind": raw('P', "\x00SELECT 1\x00", 0, "more"),
		"Bind, empty":                  append(good, raw('B')...),
		"Bind, portal only":            append(good, raw('B', "\x00")...),
		"Bind, names only":             append(good, raw('B', "\x00\x00")...),
		"Bind, name not terminated":    append(good, raw('B', "\x00name")...),
		"Bind, formats missing":        append(good, raw('B', "\x00\x00", 3, 1)...),
		"Bind, two formats for one":    append(good, raw('B', "\x00\x00", 2, 0, 0, 1, 0, 1, "x", 0)...),
		"Bind, no value":               append(good, raw('B', "\x00\x00", 0, 0, 0)...),
		"Bind, two values for one":     append(good, raw('B', "\x00\x00", 0, 2, 0, 1, "x", 0, 1, "y", 0)...),
		"Bind, value missing":          append(good, raw('B', "\x00\x00", 0, 1)...),
		"Bind, value cut short":        append(good, raw('B', "\x00\x00", 0, 1, 0, 9, "x", 0)...),
		"Bind, value of -2 bytes":      append(good, raw('B', "\x00\x00", 0, 1, 0xffff, 0xfffe, "x", 0)...),
		"Bind, value of 2^31-1 bytes":  append(good, raw('B', "\x00\x00", 0, 1, 0x7fff, 0xffff, "x", 0)...),
		"Bind, zero byte in a value":   append(good, raw('B', "\x00\x00", 0, 1, 0, 1, "\x00", 0)...),
		"Bind, no result formats":      append(good, raw('B', "\x00\x00", 0, 1, 0, 1, "x")...),
		"Bind, format 7":               append(good, raw('B', "\x00\x00", 1, 7, 1, 0, 1, "x", 0)...),
		"Bind, result format 7":        append(good, append(raw('B', "\x00\x00", 0, 1, 0, 1, "x", 1, 7), pgscript.Execute("")...)...),
		"Bind, bytes behind":           append(good, raw('B', "\x00\x00", 0, 1, 0, 1, "x", 0, "more")...),
		"Bind, unknown, bytes behind":  raw('B', "\x00name\x00", 0, 0, 0, "more"),
		"Describe, empty":              raw('D'),
		"Describe, kind only":          raw('D', "S"),
		"Describe, unknown kind":       raw('D', "X\x00"),
		"Describe, not terminated":     raw('D', "Sname"),
		"Describe, bytes behind":       append(good, raw('D', "S\x00more")...),
		"Close, empty":                 raw('C'),
		"Close, kind only":             raw('C', "S"),
		"Close, unknown kind":          raw('C', "X\x00"),
		"Close, not terminated":        raw('C', "Sname"),
		"Close, bytes behind":          raw('C', "Sname\x00more"),
		"Close, portal, bytes behind":  raw('C', "P\x00more"),
		"Execute, empty":               raw('E'),
		"Execute, no count":            raw('E', "\x00"),
		"Execute, not terminated":      raw('E', "name"),
		"Execute, bytes behind":        raw('E', "\x00", 0, 0, "more"),
		"FunctionCall, empty":          raw('F'),
		"FunctionCall, number only":    raw('F', 0, 1598),
		"FunctionCall, unknown":        raw('F', 0, 1, 0, 0, 0),
		"Flush, bytes behind":          raw('H', "more"),
		"Sync, bytes behind":           raw('S', "more"),
		"CopyDone, none under way":     raw('c', "more"),
		"CopyFail, none under way":     raw('f', "not terminated"),
		"CopyData, none under way":     raw('d', "more"),
	}
}

// TestMalformedMessagesAsDirect: what is wrong inside a message is PostgreSQL's to
// say, in whatever place, and costs neither the session nor the server.
func TestMalformedMessagesAsDirect(t *testing.T) {
	pg := postgres(t, 0)
	play := func(c *client, message []byte, prefix string) []string {
		defer c.leave()
		var said []string
		note := func(r reply) {
			said = append(said, fmt.Sprintf("%s %s %q %c", r.types, r.state(), r.rows, r.ready))
			if r.err != nil {
				said = append(said, r.err.Message)
			}
		}
		if prefix != "" {
			note(c.query(prefix))
		}
		c.send(message)
		if message[0] != 'Q' && message[0] != 'F' && string(message[:1]) != "S" {
			c.send(pgscript.Sync())
		}
		note(c.answer())
		note(c.query("SELECT 'alive'"))
		if prefix != "" {
			note(c.query("ROLLBACK"))
		}
		note(c.query("SELECT 'well'"))
		return said
	}
	for name, message := range malformed() {
		for _, prefix := range []string{"", "BEGIN", "BEGIN; SELECT 1/0"} {
			want := play(login(t, pg.Addr), message, prefix)
			t.Run(strings.TrimSpace(name+" "+prefix), func(t *testing.T) {
				inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
					s := newSite(t, plan{pool: mode})
					before := login(t, s.primary)
					backend := before.value("SELECT pg_backend_pid()")
					before.leave()
					if got := play(login(t, s.primary), message, prefix); !slices.Equal(got, want) {
						t.Errorf("got  %q\nwant %q", got, want)
					}
					if got := login(t, s.primary).value("SELECT pg_backend_pid()"); got != backend {
						t.Error("it has cost the server")
					}
				})
			})
		}
	}
}

// TestImpossibleLengths: a length that PostgreSQL does not take for a message of this
// type ends the session with 08P01 before the server hears of it. (PostgreSQL itself
// just closes.)
func TestImpossibleLengths(t *testing.T) {
	pg := postgres(t, 0)
	const small, large = 10_000, 1<<30 - 2 // PQ_SMALL_MESSAGE_LIMIT, PQ_LARGE_MESSAGE_LIMIT
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		s := newSite(t, plan{pool: mode})
		first := login(t, s.primary)
		backend := first.value("SELECT pg_backend_pid()")
		first.leave()
		for _, typ := range "QPBFdDCESHXcf" {
			most := uint32(large)
			if strings.ContainsRune("DCESHXcf", typ) {
				most = small
			}
			for _, length := range []uint32{0, 3, most + 1, 1<<31 - 1, 1<<32 - 1} {
				t.Run(fmt.Sprintf("%c of %d", typ, length), func(t *testing.T) {
					head := binary.BigEndian.AppendUint32([]byte{byte(typ)}, length)
					direct := login(t, pg.Addr)
					direct.send(head)
					direct.gone()
					c := login(t, s.primary)
					c.send(pgscript.Query("SELECT 1"), head)
					if r := c.answer(); r.types != "TDCZ" {
						t.Errorf("the query before it: %q %v", r.types, r.err)
					}
					if got := c.fatal(); got != "08P01" {
						t.Errorf("SQLSTATE %s, want 08P01", got)
					}
				})
			}
		}
		if got := login(t, s.primary).value("SELECT pg_backend_pid()"); got != backend {
			t.Error("it has cost the server")
		}
	})
}

// TestAnnouncedLengthsCostNothing: for a message that has only been announced, of the
// largest size that there is, no memory is kept.
func TestAnnouncedLengthsCostNothing(t *testing.T) {
	inModes(t, func(t *testing.T, mode func(*pool.Settings)) {
		s := newSite(t, plan{pool: func(set *pool.Settings) { mode(set); set.PoolSize = 0 }})
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for _, body := range []string{"QSELECT ", "P\x00SELECT ", "Pname\x00SELECT ", "B\x00name\x00", "B\x00\x00", "F\x00\x00"} {
			for range 5 {
				c := login(t, s.primary)
				c.send(binary.BigEndian.AppendUint32([]byte{body[0]}, 1<<30-2), []byte(body[1:]), make([]byte, 32<<10))
			}
		}
		eventually(t, "all has been read", func() bool { return s.memory() < 30*(64<<10) })
		runtime.GC()
		runtime.ReadMemStats(&after)
		if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 32<<20 {
			t.Errorf("30 announced messages cost %d MB", grown>>20)
		}
	})
}
