package corpus

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

func TestLogin(t *testing.T) {
	pg := lab.StartPostgresT(t, lab.PostgresOptions{})
	tr := transcripts(t)[0]
	for _, tc := range []struct{ name, user, password, database, code string }{
		{"scram", lab.AppUser, lab.AppPassword, lab.AppDatabase, ""},
		{"md5", lab.MD5User, lab.AppPassword, lab.AppDatabase, ""},
		{"clear text", lab.PlainUser, lab.AppPassword, lab.AppDatabase, ""},
		{"trust", lab.TrustUser, "", lab.AppDatabase, ""},
		{"wrong password", lab.AppUser, "wrong", lab.AppDatabase, "28P01"},
		{"no such user", "nobody", "x", lab.AppDatabase, "28P01"},
		{"no such database", lab.AppUser, lab.AppPassword, "nowhere", "3D000"},
	} {
		player := NewPlayer(Target{Addr: pg.Addr, User: tc.user, Password: tc.password, Database: tc.database})
		_, err := player.Play(t.Context(), tr, Chunking{})
		var refused *LoginError
		errors.As(err, &refused)
		switch {
		case tc.code == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.code != "" && (refused == nil || refused.Code != tc.code):
			t.Errorf("%s: %v, want SQLSTATE %s", tc.name, err, tc.code)
		}
	}
}

// TestPeerQueueSeesWhatIsUnread: without this a "split" could be no split.
func TestPeerQueueSeesWhatIsUnread(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	queue, err := newPeerQueue(client.(*net.TCPConn))
	if err != nil {
		t.Fatal(err)
	}
	defer queue.close()

	check := func(when string, want uint32) {
		t.Helper()
		if got, err := queue.unread(); err != nil || got != want {
			t.Errorf("%s: %d bytes unread, %v, want %d", when, got, err, want)
		}
	}
	check("at first", 0)
	if _, err := client.Write([]byte("seven b")); err != nil {
		t.Fatal(err)
	}
	check("after a write", 7)
	start := time.Now()
	if err := queue.awaitRead(); err != nil || time.Since(start) < awaitLimit {
		t.Errorf("awaitRead ended after %v with %v, though nobody has read", time.Since(start), err)
	}
	if _, err := io.ReadFull(peer, make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	check("after a partial read", 3)
	peer.Close()
	check("after the peer's close", 0)
}

// TestSplitsCutEveryByte of every batch that is short enough.
func TestSplitsCutEveryByte(t *testing.T) {
	for _, tr := range transcripts(t) {
		splits := tr.Splits()
		for i, b := range tr.Script {
			if len(b.Client) > exhaustive {
				continue
			}
			seen := make([]bool, len(b.Client)+1)
			for _, at := range splits {
				for _, part := range (Chunking{Split: at}).parts(b.Client)[:min(1, len(b.Client))] {
					seen[len(part)] = true
				}
			}
			for at := 1; at < len(b.Client); at++ {
				if !seen[at] {
					t.Errorf("%s, batch %d: never cut behind byte %d", tr.Name, i+1, at)
				}
			}
		}
	}
}
