package auth

import (
	"testing"

	"github.com/pgvip/pgvip/wire"
)

// body takes the header off a message.
func body(t *testing.T, message []byte) []byte {
	t.Helper()
	if len(message) < 5 {
		t.Fatalf("message of %d bytes", len(message))
	}
	return message[5:]
}

// converse runs a login between both state machines. It returns the errors of
// the server's side and of the client's.
func converse(t *testing.T, login *Login, client *Client) (refused *wire.Error, fault error) {
	t.Helper()
	send, done, refused := login.Start()
	for refused == nil {
		// A reply may be two messages: SASLFinal, then AuthenticationOk.
		var answer []byte
		for len(send) > 0 {
			n := 1 + int(send[3])<<8 + int(send[4])
			var in bool
			answer, in, fault = client.Step(body(t, send[:n]))
			if fault != nil {
				return nil, fault
			}
			if in != (done && n == len(send)) {
				t.Fatalf("client let in: %v, login done: %v", in, done)
			}
			send = send[n:]
		}
		if done {
			return nil, nil
		}
		send, done, refused = login.Step(body(t, answer))
	}
	return refused, nil
}

func mustSecret(t *testing.T, text string) Secret {
	t.Helper()
	s, err := ParseSecret(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestLoginByEveryMethodAndSecret(t *testing.T) {
	keys, err := deriveKeys("pencil", []byte("0123456789abcdef"), 4096)
	if err != nil {
		t.Fatal(err)
	}
	stored := map[Kind]string{
		NoSecret:    "",
		PlainSecret: "pencil",
		MD5Secret:   HashMD5("pencil", "alice"),
		SCRAMSecret: keys.Verifier().Encode(),
	}
	for _, method := range []Method{Password, MD5, SCRAM} {
		for kind, text := range stored {
			server := NewServer(ServerConfig{})
			for password, right := range map[string]bool{"pencil": true, "pencil2": false} {
				login := server.Begin(method, "alice", mustSecret(t, text), true)
				client := NewClient(ClientConfig{User: "alice", Credential: Credential{Password: password}})
				refused, fault := converse(t, login, client)
				want := right && kind != NoSecret && !(method == SCRAM && kind == MD5Secret)
				if fault != nil || (refused == nil) != want {
					t.Errorf("%v with %v, password right %v: refused %v, fault %v, want in: %v",
						method, kind, right, refused, fault, want)
				}
			}
		}
	}
}
