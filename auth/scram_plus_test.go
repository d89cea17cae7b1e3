package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/wire"
)

// Both halves against each other, with and without channel binding, from a password
// and from keys that another client has shown.
func TestScramBindings(t *testing.T) {
	tests := []struct {
		name           string
		server, client string // what each knows of the channel
		mechanism      string
		flag           string
	}{
		{"no TLS", "", "", mechanism, "n,,"},
		{"TLS", "channel", "channel", mechanismPlus, "p=tls-server-end-point,,"},
		{"server cannot", "", "channel", mechanism, "y,,"},
		{"client cannot", "channel", "", mechanism, "n,,"},
	}
	keys := rfcKeys(t)
	for _, tt := range tests {
		for name, credential := range map[string]Credential{"password": {Password: "pencil"}, "keys": {Keys: keys}} {
			t.Run(tt.name+"/"+name, func(t *testing.T) {
				s := &scramServer{verifier: keys.Verifier(), nonce: "server", binding: channel(tt.server)}
				c := newClientAt(credential)
				c.binding = channel(tt.client)
				chosen := c.choose(s.mechanisms())
				if chosen != tt.mechanism || !s.choose(chosen) || c.gs2() != tt.flag {
					t.Fatalf("client chose %q with %q, want %q with %q", chosen, c.gs2(), tt.mechanism, tt.flag)
				}
				learned, err := prove(s, c)
				if err != nil {
					t.Fatal(err)
				}
				if learned.ClientKey != keys.ClientKey {
					t.Error("the ClientKey recovered from the proof is not the client's")
				}
			})
		}
	}
}

func channel(text string) []byte {
	if text == "" {
		return nil
	}
	return []byte(text)
}

// prove lets both halves talk to the end.
func prove(s *scramServer, c *scramClient) (*Keys, error) {
	serverFirst, err := s.first(c.first())
	if err != nil {
		return nil, err
	}
	clientFinal, err := c.next(serverFirst)
	if err != nil {
		return nil, err
	}
	serverFinal, keys, err := s.final(clientFinal)
	if err != nil {
		return nil, err
	}
	return keys, c.finish(serverFinal)
}

// Who has another certificate before him than ours has somebody in between.
func TestScramOtherChannel(t *testing.T) {
	s := &scramServer{verifier: rfcKeys(t).Verifier(), nonce: "server", binding: []byte("ours")}
	c := newClientAt(Credential{Password: "pencil"})
	c.binding = []byte("another")
	s.choose(c.choose(s.mechanisms()))
	_, err := prove(s, c)
	var e *wire.Error
	if !errors.As(err, &e) || e.Code != wire.CodeInvalidAuthorization || e.Message != "SCRAM channel binding check failed" {
		t.Errorf("prove = %v, want 28000", err)
	}
}

// The rules of RFC 5802 section 6 for the flag, in PostgreSQL's words.
func TestServerRefusesBindingFlags(t *testing.T) {
	tests := []struct {
		name, mechanism, first string
		binding                []byte
		code, text             string
	}{
		{"downgrade", mechanism, "y,,n=,r=abc", []byte("ours"), wire.CodeInvalidAuthorization, "negotiation error"},
		{"bound without PLUS", mechanism, "p=tls-server-end-point,,n=,r=abc", []byte("ours"), wire.CodeProtocolViolation, "without channel binding"},
		{"PLUS with n", mechanismPlus, "n,,n=,r=abc", []byte("ours"), wire.CodeProtocolViolation, "does not include"},
		{"PLUS with y", mechanismPlus, "y,,n=,r=abc", []byte("ours"), wire.CodeProtocolViolation, "does not include"},
		{"another type", mechanismPlus, "p=tls-unique,,n=,r=abc", []byte("ours"), wire.CodeProtocolViolation, "channel-binding type"},
		{"unknown flag", mechanismPlus, "x,,n=,r=abc", []byte("ours"), wire.CodeProtocolViolation, "Unexpected channel-binding flag"},
		{"identity", mechanismPlus, "p=tls-server-end-point,a=bob,n=,r=abc", []byte("ours"), wire.CodeFeatureNotSupported, "authorization identity"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scramServer{verifier: rfcKeys(t).Verifier(), nonce: "server", binding: tt.binding}
			if !s.choose(tt.mechanism) {
				t.Fatal("the mechanism is not offered")
			}
			_, err := s.first([]byte(tt.first))
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message+e.Detail, tt.text) {
				t.Errorf("first = %v, want %s with %q", err, tt.code, tt.text)
			}
		})
	}
	if s := (&scramServer{}); s.choose(mechanismPlus) || s.choose("SCRAM-SHA-1") {
		t.Error("a mechanism that was not offered was taken")
	}
}

// A login over TLS is offered both mechanisms, one without TLS the plain one.
func TestLoginOffersPlus(t *testing.T) {
	for binding, want := range map[string]string{
		"":     "SCRAM-SHA-256\x00\x00",
		"ours": "SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00",
	} {
		l := NewServer(ServerConfig{}).Begin(SCRAM, "user", Secret{}, false)
		l.Bind(channel(binding))
		send, _, err := l.Start()
		if err != nil || !strings.HasSuffix(string(send), "\x0a"+want) {
			t.Errorf("bound by %q: offer %q, %v", binding, send, err)
		}
	}
}

// The client holds the server to what it offers.
func TestClientChooses(t *testing.T) {
	for _, tt := range []struct{ offer, binding, sent string }{
		{"SCRAM-SHA-256\x00\x00", "", "SCRAM-SHA-256\x00"},
		{"SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00", "", "SCRAM-SHA-256\x00"},
		{"SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00", "channel", "SCRAM-SHA-256-PLUS\x00"},
		{"SCRAM-SHA-256\x00\x00", "channel", "SCRAM-SHA-256\x00"},
		{"SCRAM-SHA-256-PLUS\x00\x00", "", ""},
	} {
		c := NewClient(ClientConfig{User: "user", Credential: Credential{Password: "pencil"}, Binding: channel(tt.binding)})
		send, _, err := c.Step([]byte("\x00\x00\x00\x0a" + tt.offer))
		if tt.sent == "" {
			if !errors.Is(err, ErrExchange) {
				t.Errorf("offer %q: %v, want a refusal", tt.offer, err)
			}
			continue
		}
		if err != nil || !strings.HasPrefix(string(send[5:]), tt.sent) {
			t.Errorf("offer %q with %q: %q, %v, want %q", tt.offer, tt.binding, send, err, tt.sent)
		}
	}
}
