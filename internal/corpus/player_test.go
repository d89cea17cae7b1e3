package corpus

import (
	"errors"
	"testing"

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
