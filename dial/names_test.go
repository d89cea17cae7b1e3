package dial

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// book is a name server.
type book struct {
	answers []string
	err     error
	asked   int
}

func (b *book) lookup(context.Context, string) ([]string, error) {
	b.asked++
	return b.answers, b.err
}

func TestNamesAreAskedAgainAfterTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &book{answers: []string{"192.0.2.1"}}
		ttl := 15 * time.Second
		var changed []string
		n := &Names{lookup: b.lookup, TTL: func() time.Duration { return ttl }, Changed: func(h string) { changed = append(changed, h) }}
		want := func(what string, asked int, address string) {
			t.Helper()
			got, err := n.resolve(t.Context(), "db1")
			if err != nil || !slices.Equal(got, []string{address}) || b.asked != asked {
				t.Errorf("%s: %v, %v after %d questions; want %s after %d", what, got, err, b.asked, address, asked)
			}
		}
		want("at first", 1, "192.0.2.1")
		time.Sleep(ttl - 1)
		b.answers = []string{"192.0.2.2"}
		want("within dns_max_ttl", 1, "192.0.2.1")
		if h := n.Hosts(); len(h) != 1 || h[0].TTL != 1 || h[0].Name != "db1" {
			t.Errorf("hosts = %+v, want db1 for another nanosecond", h)
		}
		time.Sleep(time.Nanosecond)
		want("after dns_max_ttl", 2, "192.0.2.2")
		if !slices.Equal(changed, []string{"db1"}) {
			t.Errorf("changed: %q, want db1 once", changed)
		}
		time.Sleep(ttl)
		b.answers, b.err = nil, errors.New("no name server answers")
		want("without a name server", 3, "192.0.2.2")
		if _, err := n.resolve(t.Context(), "db2"); !errors.Is(err, b.err) {
			t.Errorf("a name never known: %v, want %v", err, b.err)
		}
		b.err = nil
		want("with a name server that knows nothing", 5, "192.0.2.2")
		ttl = 0
		b.answers = []string{"192.0.2.2"}
		want("with 0", 6, "192.0.2.2")
		want("with 0 again", 7, "192.0.2.2")
		if len(changed) != 1 {
			t.Errorf("changed: %q, want no more than before", changed)
		}
	})
}

func TestNamesTryEachAddress(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	b := &book{answers: []string{"127.0.0.2", "127.0.0.1"}} // nobody listens on the first
	n := &Names{lookup: b.lookup, TTL: func() time.Duration { return time.Minute }}
	conn, err := n.DialContext(t.Context(), "tcp", "db1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if conn, err = n.DialContext(t.Context(), "tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	if b.asked != 1 {
		t.Errorf("%d questions, want none about an address", b.asked)
	}
	b.answers = []string{"127.0.0.2"}
	if _, err := n.DialContext(t.Context(), "tcp", "db2:"+port); err == nil {
		t.Error("connected where nobody listens")
	}
}
