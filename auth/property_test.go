package auth

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pgvip/pgvip/wire"
)

// passwords draws what a cleartext or SCRAM password can be: not empty, no zero
// byte, UTF-8 or not.
func passwords() *rapid.Generator[string] {
	text := rapid.StringN(1, 40, -1)
	bytes := rapid.Map(rapid.SliceOfN(rapid.ByteRange(1, 255), 1, 40), func(b []byte) string { return string(b) })
	return rapid.OneOf(text, bytes).Filter(func(s string) bool {
		return !slices.Contains([]byte(s), 0)
	})
}

// exchange runs a login; tamper may change each body on its way. It reports
// whether both sides ended in success.
func exchange(login *Login, client *Client, tamper func(body []byte)) bool {
	send, done, refused := login.Start()
	for refused == nil {
		var answer []byte
		clientIn := false
		for len(send) > 0 {
			n := 1 + int(send[3])<<8 + int(send[4])
			tamper(send[5:n])
			var fault error
			if answer, clientIn, fault = client.Step(send[5:n]); fault != nil {
				return false
			}
			send = send[n:]
		}
		if done {
			return clientIn
		}
		if len(answer) == 0 {
			return false
		}
		tamper(answer[5:])
		send, done, refused = login.Step(answer[5:])
	}
	return false
}

func TestAnyPasswordLogsInByScram(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		password := passwords().Draw(t, "password")
		salt := rapid.SliceOfN(rapid.Byte(), 1, 32).Draw(t, "salt")
		keys, err := deriveKeys(password, salt, DefaultMinIterations)
		if err != nil {
			t.Fatal(err)
		}
		secret, err := ParseSecret(keys.Verifier().Encode())
		if err != nil {
			t.Fatal(err)
		}
		server := NewServer(ServerConfig{})
		login := server.Begin(SCRAM, "alice", secret, true)
		client := NewClient(ClientConfig{User: "alice", Credential: Credential{Password: password}})
		if !exchange(login, client, func([]byte) {}) {
			t.Fatalf("refused: %s", login.Reason())
		}
		// What the login has learnt opens a server with the same verifier.
		login2 := server.Begin(SCRAM, "alice", secret, true)
		through := NewClient(ClientConfig{User: "alice", Credential: login.Credential()})
		if !exchange(login2, through, func([]byte) {}) {
			t.Fatalf("pass-through refused: %s", login2.Reason())
		}
		// Nothing else does.
		wrong := passwords().Draw(t, "wrong")
		if saslPrep(wrong) == saslPrep(password) {
			return
		}
		login3 := server.Begin(SCRAM, "alice", secret, true)
		guess := NewClient(ClientConfig{User: "alice", Credential: Credential{Password: wrong}})
		if exchange(login3, guess, func([]byte) {}) {
			t.Fatalf("%q logs in with the verifier of %q", wrong, password)
		}
	})
}

// One bit flipped in any message of the exchange, by the network or an attacker,
// and it fails.
func TestAnyFlippedBitFails(t *testing.T) {
	cache := NewKeyCache(10)
	for _, method := range []Method{MD5, SCRAM} {
		rapid.Check(t, func(t *rapid.T) {
			secret, err := ParseSecret("pencil")
			if err != nil {
				t.Fatal(err)
			}
			login := NewServer(ServerConfig{Cache: cache, MockSecret: []byte("x")}).Begin(method, "alice", secret, true)
			client := NewClient(ClientConfig{User: "alice", Credential: Credential{Password: "pencil"}, Cache: cache})
			messages := map[Method]int{MD5: 3, SCRAM: 6}[method]
			target := rapid.IntRange(0, messages-1).Draw(t, "message")
			count := 0
			tamper := func(body []byte) {
				if count == target {
					bit := rapid.IntRange(0, 8*len(body)-1).Draw(t, "bit")
					body[bit/8] ^= 1 << (bit % 8)
				}
				count++
			}
			if exchange(login, client, tamper) {
				t.Fatal("succeeded")
			}
			if count <= target {
				t.Fatalf("only %d messages were sent", count)
			}
		})
	}
}

// Whatever a client sends: no panic, an answer or a FATAL, and nobody gets in
// without the secret.
func FuzzLogin(f *testing.F) {
	f.Add(int(Password), []byte("wrong\x00"), []byte{})
	f.Add(int(MD5), []byte("md5"), []byte{})
	f.Add(int(SCRAM), wire.AppendSASLInitialResponse(nil, mechanism, []byte("n,,n=,r=abc"))[5:], []byte("c=biws,r=abc,p="))
	secret, err := ParseSecret(goodVerifier)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method int, first, second []byte) {
		login := NewServer(ServerConfig{Iterations: 1}).Begin(Method(method%5), "alice", secret, true)
		_, done, refused := login.Start()
		for _, body := range [][]byte{first, second} {
			if done || refused != nil {
				break
			}
			_, done, refused = login.Step(body)
		}
		if done && (login.method != Trust || refused != nil) && string(first) != "pencil\x00" {
			t.Fatalf("%v let in with %q, %q", login.method, first, second)
		}
		if refused != nil && !refused.Fatal() {
			t.Fatalf("refused with %v", refused)
		}
	})
}

// Whatever a server sends: no panic, and it is never believed without having
// asked for something or waved us through at once.
func FuzzClient(f *testing.F) {
	f.Add(wire.AppendAuthenticationSASL(nil, mechanism)[5:], []byte(rfcServerFirst), []byte(rfcServerFinal))
	f.Add(wire.AppendAuthentication(nil, wire.AuthMD5Password, []byte("salt"))[5:], []byte{0, 0, 0, 0}, []byte{})
	keys := rfcKeys(f)
	f.Fuzz(func(t *testing.T, first, second, third []byte) {
		client := NewClient(ClientConfig{User: "alice", Credential: Credential{Keys: keys}})
		for _, body := range [][]byte{first, second, third} {
			before := client.phase
			_, done, err := client.Step(body)
			if done && (before != awaitRequest && before != awaitVerdict || err != nil) {
				t.Fatalf("let in in phase %d by %q", before, body)
			}
			if err != nil && client.phase != clientOver {
				t.Fatalf("goes on after %v", err)
			}
		}
	})
}

func FuzzScramServer(f *testing.F) {
	f.Add([]byte(rfcClientFirst), []byte(rfcClientFinal))
	f.Add([]byte("y,,n=,r=abc,x=1"), []byte("c=eSws,r=abcx,p="))
	f.Add([]byte("p=tls-server-end-point,,n=,r=abc"), []byte("c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsb3Vycw==,r=abc,p="))
	verifier := rfcKeys(f).Verifier()
	f.Fuzz(func(t *testing.T, first, final []byte) {
		s := scramServer{verifier: verifier, nonce: rfcServerNonce}
		if bytes.HasPrefix(first, []byte("p=")) {
			s.binding = []byte("ours")
			s.choose(mechanismPlus)
		}
		if _, err := s.first(first); err != nil {
			return
		}
		if _, _, err := s.final(final); err == nil && (string(first) != rfcClientFirst || string(final) != rfcClientFinal) {
			t.Fatalf("let in with %q, %q", first, final)
		}
	})
}

func FuzzScramClient(f *testing.F) {
	f.Add([]byte(rfcServerFirst), []byte(rfcServerFinal))
	keys := rfcKeys(f)
	f.Fuzz(func(t *testing.T, first, final []byte) {
		c := newClientAt(Credential{Keys: keys})
		if _, err := c.next(first); err != nil {
			return
		}
		if c.finish(final) == nil {
			t.Fatalf("believes %q after %q", final, first)
		}
	})
}
