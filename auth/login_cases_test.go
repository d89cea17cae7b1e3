package auth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/wire"
)

// start begins a login and returns the code of the server's first request.
func start(t *testing.T, login *Login) uint32 {
	t.Helper()
	send, done, refused := login.Start()
	if refused != nil || done {
		t.Fatalf("Start: done %v, %v", done, refused)
	}
	return binary.BigEndian.Uint32(body(t, send))
}

func wantRefusal(t *testing.T, err *wire.Error, code, message string) {
	t.Helper()
	if err == nil || !err.Fatal() || err.Code != code || err.Message != message {
		t.Errorf("refused with %v, want FATAL: %s (SQLSTATE %s)", err, message, code)
	}
}

func TestLoginAsksByMethodAndSecret(t *testing.T) {
	hash := HashMD5("pencil", "alice")
	tests := []struct {
		name   string
		method Method
		stored string
		found  bool
		want   uint32
	}{
		{"plain", Password, goodVerifier, true, wire.AuthCleartextPassword},
		{"plain, unknown user", Password, "", false, wire.AuthCleartextPassword},
		{"md5, plain stored", MD5, "pencil", true, wire.AuthMD5Password},
		{"md5, hash stored", MD5, hash, true, wire.AuthMD5Password},
		{"md5, verifier stored", MD5, goodVerifier, true, wire.AuthSASL},
		{"md5, unknown user", MD5, "", false, wire.AuthSASL},
		{"scram, verifier stored", SCRAM, goodVerifier, true, wire.AuthSASL},
		{"scram, plain stored", SCRAM, "pencil", true, wire.AuthSASL},
		{"scram, hash stored", SCRAM, hash, true, wire.AuthSASL},
		{"scram, unknown user", SCRAM, "", false, wire.AuthSASL},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			login := NewServer(ServerConfig{}).Begin(tt.method, "alice", mustSecret(t, tt.stored), tt.found)
			if got := start(t, login); got != tt.want {
				t.Errorf("asks with code %d, want %d", got, tt.want)
			}
		})
	}
}

func TestLoginByTrust(t *testing.T) {
	server := NewServer(ServerConfig{})
	login := server.Begin(Trust, "alice", mustSecret(t, "pencil"), true)
	send, done, refused := login.Start()
	if !bytes.Equal(send, wire.AppendAuthentication(nil, wire.AuthOk, nil)) || !done || refused != nil {
		t.Errorf("Start = %q, %v, %v, want Ok", send, done, refused)
	}
	if login.Credential().Password != "pencil" {
		t.Error("the stored password is not the credential")
	}
	login = server.Begin(Trust, "mal\"lory", mustSecret(t, "pencil"), false)
	_, _, refused = login.Start()
	wantRefusal(t, refused, wire.CodeInvalidAuthorization, `role "mal"lory" does not exist`)
}

func TestLoginTellsClientOneThingAndOperatorAnother(t *testing.T) {
	tests := []struct {
		name   string
		method Method
		stored string
		found  bool
		reason string
	}{
		{"wrong plain", Password, "pencil", true, "wrong password (stored is a plain password)"},
		{"wrong md5", MD5, HashMD5("pencil", `al"ice`), true, "wrong password (stored is an MD5 hash)"},
		{"wrong scram", SCRAM, goodVerifier, true, "wrong password (stored is a SCRAM verifier)"},
		{"unknown, plain", Password, "", false, "no such user"},
		{"unknown, md5", MD5, "", false, "no such user"},
		{"unknown, scram", SCRAM, "", false, "no such user"},
		{"nothing stored, plain", Password, "", true, "no password is stored for the user"},
		{"nothing stored, md5", MD5, "", true, "no password is stored for the user"},
		{"nothing stored, scram", SCRAM, "", true, "no password is stored for the user"},
		{"scram with an MD5 hash", SCRAM, HashMD5("pencil", `al"ice`), true,
			"auth_type scram-sha-256 needs a plain password or a SCRAM verifier; stored is an MD5 hash"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			login := NewServer(ServerConfig{}).Begin(tt.method, `al"ice`, mustSecret(t, tt.stored), tt.found)
			client := NewClient(ClientConfig{User: `al"ice`, Credential: Credential{Password: "wrong"}})
			refused, fault := converse(t, login, client)
			if fault != nil {
				t.Fatal(fault)
			}
			wantRefusal(t, refused, wire.CodeInvalidPassword, `password authentication failed for user "al"ice"`)
			if login.Reason() != tt.reason {
				t.Errorf("Reason() = %q, want %q", login.Reason(), tt.reason)
			}
			if login.Credential() != (Credential{}) {
				t.Error("a refused login has a credential")
			}
			_, done, refused := login.Step([]byte("pencil\x00"))
			if done || refused == nil {
				t.Error("a refused login goes on")
			}
		})
	}
}

func TestLoginLearnsCredential(t *testing.T) {
	keys := rfcKeys(t)
	hash := HashMD5("pencil", "user")
	tests := []struct {
		name   string
		method Method
		stored string
		want   Credential // Keys: only whether there are any
	}{
		{"plain against verifier", Password, goodVerifier, Credential{Password: "pencil"}},
		{"plain against hash", Password, hash, Credential{Password: "pencil"}},
		{"md5 against plain", MD5, "pencil", Credential{Password: "pencil"}},
		{"md5 against hash", MD5, hash, Credential{MD5: hash}},
		{"scram against plain", SCRAM, "pencil", Credential{Password: "pencil", Keys: keys}},
		{"scram against verifier", SCRAM, goodVerifier, Credential{Keys: keys}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			login := NewServer(ServerConfig{}).Begin(tt.method, "user", mustSecret(t, tt.stored), true)
			client := NewClient(ClientConfig{User: "user", Credential: Credential{Password: "pencil"}})
			if refused, fault := converse(t, login, client); refused != nil || fault != nil {
				t.Fatal(refused, fault)
			}
			got := login.Credential()
			if got.Password != tt.want.Password || got.MD5 != tt.want.MD5 || (got.Keys == nil) != (tt.want.Keys == nil) {
				t.Errorf("credential is %s, want %s", got.have(), tt.want.have())
			}
			if tt.stored == goodVerifier && got.Keys != nil && got.Keys.ClientKey != keys.ClientKey {
				t.Error("the ClientKey is not the one of the password")
			}
			if login.Reason() != "" {
				t.Errorf("Reason() = %q after success", login.Reason())
			}
		})
	}
}

func TestLoginRefusesMessages(t *testing.T) {
	initial := func(mechanism string, length int32, data string) string {
		return mechanism + "\x00" + string(binary.BigEndian.AppendUint32(nil, uint32(length))) + data
	}
	const size, empty = "invalid password packet size", "empty password returned by client"
	tests := []struct {
		name          string
		method        Method
		body          string
		code, message string
	}{
		{"password, nothing", Password, "", wire.CodeProtocolViolation, size},
		{"password, not terminated", Password, "pencil", wire.CodeProtocolViolation, size},
		{"password, zero byte within", Password, "pen\x00cil\x00", wire.CodeProtocolViolation, size},
		{"password, empty", Password, "\x00", wire.CodeInvalidPassword, empty},
		{"password, endless", Password, strings.Repeat("x", 1<<16), wire.CodeProtocolViolation, "invalid authentication message length"},
		{"md5, not terminated", MD5, "md5", wire.CodeProtocolViolation, size},
		{"md5, empty", MD5, "\x00", wire.CodeInvalidPassword, empty},
		{"md5, endless", MD5, strings.Repeat("x", 1025), wire.CodeProtocolViolation, "invalid authentication message length"},
		{"scram, nothing", SCRAM, "", wire.CodeProtocolViolation, "malformed SASLInitialResponse message"},
		{"scram, no length", SCRAM, "SCRAM-SHA-256\x00\x00\x00", wire.CodeProtocolViolation, "malformed SASLInitialResponse message"},
		{"scram, length too great", SCRAM, initial("SCRAM-SHA-256", 5, "n,,"), wire.CodeProtocolViolation, "malformed SASLInitialResponse message"},
		{"scram, length too small", SCRAM, initial("SCRAM-SHA-256", 1, "n,,"), wire.CodeProtocolViolation, "malformed SASLInitialResponse message"},
		{"scram, length -1 with data", SCRAM, initial("SCRAM-SHA-256", -1, "n,,"), wire.CodeProtocolViolation, "malformed SASLInitialResponse message"},
		{"scram, length -2", SCRAM, initial("SCRAM-SHA-256", -2, ""), wire.CodeProtocolViolation, "malformed SASLInitialResponse message"},
		{"scram, PLUS not offered", SCRAM, initial("SCRAM-SHA-256-PLUS", 3, "n,,"), wire.CodeProtocolViolation,
			"client selected an invalid SASL authentication mechanism"},
		{"scram, endless", SCRAM, initial("SCRAM-SHA-256", 1024, strings.Repeat("x", 1024)), wire.CodeProtocolViolation,
			"invalid authentication message length"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			login := NewServer(ServerConfig{}).Begin(tt.method, "alice", mustSecret(t, "pencil"), true)
			start(t, login)
			send, done, refused := login.Step([]byte(tt.body))
			if send != nil || done {
				t.Errorf("Step = %q, %v", send, done)
			}
			wantRefusal(t, refused, tt.code, tt.message)
			if login.Reason() == "" {
				t.Error("no reason for the operator")
			}
		})
	}
}

// RFC 4422: a client may leave its first message for an empty challenge.
func TestLoginSendsEmptyChallenge(t *testing.T) {
	login := NewServer(ServerConfig{}).Begin(SCRAM, "alice", mustSecret(t, "pencil"), true)
	start(t, login)
	send, done, refused := login.Step([]byte("SCRAM-SHA-256\x00\xff\xff\xff\xff"))
	if want := wire.AppendAuthentication(nil, wire.AuthSASLContinue, nil); !bytes.Equal(send, want) || done || refused != nil {
		t.Fatalf("Step = %q, %v, %v, want an empty challenge", send, done, refused)
	}
	send, _, refused = login.Step([]byte("n,,n=,r=abc"))
	if refused != nil || !bytes.Contains(send, []byte("r=abc")) {
		t.Errorf("Step = %q, %v, want server-first", send, refused)
	}
}

// serverFirst returns salt and iteration count that a user is shown.
func serverFirst(t *testing.T, server *Server, user string, secret Secret, found bool) (salt string, count string) {
	t.Helper()
	login := server.Begin(SCRAM, user, secret, found)
	start(t, login)
	send, _, refused := login.Step(body(t, wire.AppendSASLInitialResponse(nil, mechanism, []byte("n,,n=,r=abc"))))
	if refused != nil {
		t.Fatal(refused)
	}
	in := scanner{rest: string(body(t, send)[4:])}
	in.next('r')
	salt, count = in.next('s'), in.next('i')
	if in.end() != nil {
		t.Fatalf("malformed server-first in %q", send)
	}
	return salt, count
}

// Nobody can tell by salt or count who exists: they are the user's own, do not
// change, and look alike.
func TestUnknownUserLooksLikeOthers(t *testing.T) {
	server := NewServer(ServerConfig{})
	peer := NewServer(ServerConfig{MockSecret: server.cfg.MockSecret})
	plain := mustSecret(t, "pencil")
	salt, count := serverFirst(t, server, "nobody", Secret{}, false)
	again, _ := serverFirst(t, server, "nobody", Secret{}, false)
	there, _ := serverFirst(t, peer, "nobody", Secret{}, false)
	known, knownCount := serverFirst(t, server, "nobody", plain, true)
	other, _ := serverFirst(t, server, "somebody", Secret{}, false)
	elsewhere, _ := serverFirst(t, NewServer(ServerConfig{}), "nobody", Secret{}, false)
	if salt != again || salt != there || salt != known || count != knownCount {
		t.Errorf("salts %q, %q, on a peer %q, once the user exists %q; counts %s, %s: want all alike",
			salt, again, there, known, count, knownCount)
	}
	if salt == other || salt == elsewhere || len(salt) != 24 || count != "4096" {
		t.Errorf("salt %q of count %s; another user's %q, with another secret %q", salt, count, other, elsewhere)
	}
}

// A user who was not found has no secret, whatever is passed for one.
func TestSecretOfUnknownUserIsNotUsed(t *testing.T) {
	for _, method := range []Method{Password, MD5, SCRAM} {
		login := NewServer(ServerConfig{}).Begin(method, "alice", mustSecret(t, "pencil"), false)
		client := NewClient(ClientConfig{User: "alice", Credential: Credential{Password: "pencil"}})
		if refused, _ := converse(t, login, client); refused == nil {
			t.Errorf("%v: let in", method)
		}
	}
}

// A made-up user stays out even with the proof that fits the made-up verifier.
func TestDoomedExchangeNeverSucceeds(t *testing.T) {
	keys := rfcKeys(t)
	s := scramServer{verifier: keys.Verifier(), nonce: rfcServerNonce, doomed: true}
	if _, err := s.first([]byte(rfcClientFirst)); err != nil {
		t.Fatal(err)
	}
	if _, learned, err := s.final([]byte(rfcClientFinal)); !errors.Is(err, errProof) || learned != nil {
		t.Errorf("final = %v, %v, want a wrong proof", learned, err)
	}
}

func TestDoomedMD5NeverSucceeds(t *testing.T) {
	server := NewServer(ServerConfig{})
	hash, _ := server.md5Hash("alice", Secret{})
	login := server.Begin(MD5, "alice", Secret{}, true)
	client := NewClient(ClientConfig{User: "alice", Credential: Credential{MD5: hash}})
	refused, fault := converse(t, login, client)
	if refused == nil || fault != nil {
		t.Errorf("the made-up hash logs in: %v, %v", refused, fault)
	}
}

func TestBrokenRandomSourceRefuses(t *testing.T) {
	for _, method := range []Method{MD5, SCRAM} {
		server := NewServer(ServerConfig{Rand: strings.NewReader("abc")})
		login := server.Begin(method, "alice", mustSecret(t, "pencil"), true)
		if _, done, refused := login.Start(); done || refused == nil || refused.Code != wire.CodeInternalError {
			t.Errorf("%v: Start: done %v, %v, want XX000", method, done, refused)
		}
	}
}

// A server that has not proved itself gets no further.
func TestClientIsOverAfterFault(t *testing.T) {
	server := NewServer(ServerConfig{})
	login := server.Begin(SCRAM, "user", mustSecret(t, goodVerifier), true)
	client := NewClient(ClientConfig{User: "user", Credential: Credential{Password: "pencil"}})
	send, _, _ := login.Start()
	for range 2 {
		answer, _, err := client.Step(body(t, send))
		if err != nil {
			t.Fatal(err)
		}
		send, _, _ = login.Step(body(t, answer))
	}
	final := slices.Clone(send[5 : len(send)-9])
	final[len(final)-3] ^= 1
	if _, _, err := client.Step(final); !errors.Is(err, ErrExchange) {
		t.Fatalf("wrong signature: %v", err)
	}
	if _, done, err := client.Step(body(t, wire.AppendAuthentication(nil, wire.AuthOk, nil))); done || err == nil {
		t.Error("let in by a server whose signature was wrong")
	}
}

func TestClientTellsWhatIsMissing(t *testing.T) {
	sasl := body(t, wire.AppendAuthenticationSASL(nil, mechanism))
	md5 := body(t, wire.AppendAuthentication(nil, wire.AuthMD5Password, []byte("salt")))
	clear := body(t, wire.AppendAuthentication(nil, wire.AuthCleartextPassword, nil))
	keys := Credential{Keys: rfcKeys(t)}
	hash := Credential{MD5: HashMD5("pencil", "alice")}
	tests := []struct {
		name       string
		credential Credential
		request    []byte
		want       string
	}{
		{"scram, nothing", Credential{}, sasl, "SCRAM-SHA-256: held here is no secret"},
		{"scram, hash", hash, sasl, "SCRAM-SHA-256: held here is an MD5 hash"},
		{"md5, keys", keys, md5, "an MD5 password: held here is SCRAM keys"},
		{"md5, something else as hash", Credential{MD5: "md5"}, md5, "an MD5 password"},
		{"cleartext, hash", hash, clear, "a cleartext password: held here is an MD5 hash"},
		{"cleartext, keys", keys, clear, "a cleartext password: held here is SCRAM keys"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := NewClient(ClientConfig{User: "alice", Credential: tt.credential}).Step(tt.request)
			var missing *SecretError
			if !errors.As(err, &missing) || missing.User != "alice" || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Step = %v, want a SecretError that says %q", err, tt.want)
			}
		})
	}
}
