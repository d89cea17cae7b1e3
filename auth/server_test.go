package auth

import (
	"encoding/binary"
	"strconv"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/wire"
)

// With md5, users who do not exist are asked as those are who do, in the same
// share, each always in the same way.
func TestUnknownUsersOfMD5AreMixed(t *testing.T) {
	list, err := ParseUserList([]byte("\"a\" \"plain\"\n\"b\" \"md5" + strings.Repeat("0", 32) + "\"\n\"c\" \"" + goodVerifier + "\"\n\"d\" \"x\"\n\"e\" \"\""))
	if err != nil || list.MD5Share() != 0.75 {
		t.Fatalf("share %v, %v, want 0.75", list.MD5Share(), err)
	}
	first := func(s *Server, user string) uint32 {
		send, _, _ := s.Begin(MD5, user, Secret{}, false).Start()
		return binary.BigEndian.Uint32(body(t, send))
	}
	for _, share := range []float64{0, 0.75, 1} {
		s := NewServer(ServerConfig{MD5Share: share})
		asked := map[uint32]int{}
		for i := range 1000 {
			user := strconv.Itoa(i)
			way := first(s, user)
			asked[way]++
			if again := first(s, user); again != way {
				t.Fatal("one user is asked in two ways")
			}
		}
		if got := asked[wire.AuthMD5Password]; got < int(share*1000)-100 || got > int(share*1000)+100 || got+asked[wire.AuthSASL] != 1000 {
			t.Errorf("share %v: %d of 1000 are asked for MD5", share, got)
		}
	}
}

// A login of a user with a plain password derives nothing any more.
func TestWarm(t *testing.T) {
	list, err := ParseUserList([]byte("\"a\" \"plain\"\n\"b\" \"md5" + strings.Repeat("0", 32) + "\"\n\"c\" \"x\""))
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerConfig{Cache: NewKeyCache(10)})
	turns := 0
	turn := func(derive func()) bool { turns++; derive(); return true }
	s.Warm(list, turn)
	if turns != 2 || len(s.cfg.Cache.entries) != 2 {
		t.Errorf("%d turns, %d keys, want 2 each", turns, len(s.cfg.Cache.entries))
	}
	for _, user := range []string{"a", "c"} {
		secret, _ := list.Lookup(user)
		s.Begin(SCRAM, user, secret, true).Start()
	}
	if len(s.cfg.Cache.entries) != 2 {
		t.Error("the logins derived other keys")
	}
	turns = 0
	s.Warm(list, func(func()) bool { turns++; return false })
	if turns != 1 {
		t.Errorf("%d turns after being told to stop", turns)
	}
}
