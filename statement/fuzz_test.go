package statement

import (
	"bytes"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/wire"
)

// FuzzForward: whatever a client sends, what goes to the server is framed, and
// what is well formed says the same with another name.
func FuzzForward(f *testing.F) {
	for _, m := range [][]byte{parse("a", "SELECT 1", 23), bind("p", "a", "1"), describe('S', "a"), closing('S', "b"), pgscript.Query("DEALLOCATE a")} {
		f.Add(m[0], m[wire.HeaderSize:])
	}
	f.Fuzz(func(t *testing.T, typ byte, body []byte) {
		if !wire.Frontend(typ) {
			return
		}
		m := pgscript.Message(typ, body)
		store := NewStore()
		var replies wire.Replies
		replies.SetStatus('I')
		s := NewServer(store, &replies)
		var c Client
		s.Lend(&c, 1)
		prepared := parse("a", "SELECT 1")
		s.Forward(nil, nil, prepared)
		replies.Got('1')
		s.Got('1', 0)
		out, verdict := s.Forward(nil, nil, bytes.Clone(m))
		if verdict != Sent {
			return
		}
		checkForwarded(t, m, out)
		s.Close()
		c.Close()
		if store.Len() != 0 {
			t.Errorf("%d statements left", store.Len())
		}
	})
}

// checkForwarded takes pgproto3 as the judge of what was sent in place of m.
func checkForwarded(t *testing.T, m, out []byte) {
	var last []byte
	for rest := out; len(rest) > 0; rest = rest[length(rest):] {
		if len(rest) < wire.HeaderSize || length(rest) > len(rest) {
			t.Fatalf("%q is not framed", out)
		}
		last = rest[:length(rest)]
	}
	if len(last) == 0 || last[0] != m[0] {
		return // answered without the server
	}
	switch m[0] {
	case 'B':
		var was, is pgproto3.Bind
		if was.Decode(m[wire.HeaderSize:]) == nil {
			if err := is.Decode(last[wire.HeaderSize:]); err != nil || was.DestinationPortal != is.DestinationPortal || !slices.EqualFunc(was.Parameters, is.Parameters, bytes.Equal) {
				t.Errorf("Bind %+v has become %+v: %v", was, is, err)
			}
		}
	case 'P':
		var was, is pgproto3.Parse
		if was.Decode(m[wire.HeaderSize:]) == nil {
			if err := is.Decode(last[wire.HeaderSize:]); err != nil || was.Query != is.Query || !slices.Equal(was.ParameterOIDs, is.ParameterOIDs) {
				t.Errorf("Parse %+v has become %+v: %v", was, is, err)
			}
		}
	}
}
