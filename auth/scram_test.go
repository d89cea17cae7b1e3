package auth

import (
	"errors"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/wire"
)

// The exchange of RFC 7677 section 3: user "user", password "pencil".
const (
	rfcClientFirst = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
	rfcServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcSalt        = "W22ZaJ0SNY7soEsUEjb6gQ=="
	rfcServerFirst = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
	rfcClientFinal = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0," +
		"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func rfcKeys(t testing.TB) *Keys {
	t.Helper()
	salt, err := parseSalt(rfcSalt)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := deriveKeys("pencil", salt, 4096)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestServerSpeaksRFC7677(t *testing.T) {
	keys := rfcKeys(t)
	s := scramServer{verifier: keys.Verifier(), nonce: rfcServerNonce}
	serverFirst, err := s.first([]byte(rfcClientFirst))
	if err != nil || string(serverFirst) != rfcServerFirst {
		t.Fatalf("server-first = %q, %v, want %q", serverFirst, err, rfcServerFirst)
	}
	serverFinal, learned, err := s.final([]byte(rfcClientFinal))
	if err != nil || string(serverFinal) != rfcServerFinal {
		t.Fatalf("server-final = %q, %v, want %q", serverFinal, err, rfcServerFinal)
	}
	if learned.ClientKey != keys.ClientKey {
		t.Error("the ClientKey recovered from the proof is not the client's")
	}
}

// Our client leaves the user name empty, so the RFC's exchange is entered at the
// second message.
func TestClientSpeaksRFC7677(t *testing.T) {
	keys := rfcKeys(t)
	authMessage := strings.TrimPrefix(rfcClientFirst, "n,,") + "," + rfcServerFirst + "," +
		rfcClientFinal[:strings.Index(rfcClientFinal, ",p=")]
	proof := clientProof(keys.ClientKey, keys.StoredKey, authMessage)
	if got := rfcClientFinal[:strings.Index(rfcClientFinal, ",p=")] + ",p=" + encode64(proof[:]); got != rfcClientFinal {
		t.Errorf("client-final = %q, want %q", got, rfcClientFinal)
	}
	c := scramClient{keys: keys, authMessage: authMessage}
	if err := c.finish([]byte(rfcServerFinal)); err != nil {
		t.Errorf("server-final of the RFC is refused: %v", err)
	}
}

func TestServerRefusesClientFirst(t *testing.T) {
	tests := []struct {
		name, message, code, text string
	}{
		{"empty", "", wire.CodeProtocolViolation, "malformed"},
		{"no GS2 header", "n=,r=abc", wire.CodeProtocolViolation, "malformed"},
		{"channel binding", "p=tls-server-end-point,,n=,r=abc", wire.CodeProtocolViolation, "malformed"},
		{"unknown flag", "x,,n=,r=abc", wire.CodeProtocolViolation, "malformed"},
		{"flag with a tail", "nn,,n=,r=abc", wire.CodeProtocolViolation, "malformed"},
		{"authorization identity", "n,a=bob,n=,r=abc", wire.CodeFeatureNotSupported, "authorization identity"},
		{"mandatory extension", "n,,m=x,n=,r=abc", wire.CodeFeatureNotSupported, "unsupported SCRAM extension"},
		{"no user name", "n,,r=abc", wire.CodeProtocolViolation, "malformed"},
		{"no nonce", "n,,n=", wire.CodeProtocolViolation, "malformed"},
		{"empty nonce", "n,,n=,r=", wire.CodeProtocolViolation, "non-printable"},
		{"blank in nonce", "n,,n=,r=a b", wire.CodeProtocolViolation, "non-printable"},
		{"high byte in nonce", "n,,n=,r=a\xffb", wire.CodeProtocolViolation, "non-printable"},
		{"zero byte", "n,,n=,r=ab\x00", wire.CodeProtocolViolation, "malformed"},
		{"repeated nonce", "n,,n=,r=abc,r=abc", wire.CodeProtocolViolation, "malformed"},
		{"repeated user name", "n,,n=,r=abc,n=", wire.CodeProtocolViolation, "malformed"},
		{"repeated extension", "n,,n=,r=abc,x=1,x=2", wire.CodeProtocolViolation, "malformed"},
		{"reserved attribute", "n,,n=,r=abc,s=1", wire.CodeProtocolViolation, "malformed"},
		{"attribute that is no letter", "n,,n=,r=abc,1=2", wire.CodeProtocolViolation, "malformed"},
		{"attribute without equals sign", "n,,n=,r=abc,xy", wire.CodeProtocolViolation, "malformed"},
		{"comma at the end", "n,,n=,r=abc,", wire.CodeProtocolViolation, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scramServer{verifier: rfcKeys(t).Verifier(), nonce: "server"}
			_, err := s.first([]byte(tt.message))
			var e *wire.Error
			if !errors.As(err, &e) || e.Code != tt.code || !strings.Contains(e.Message, tt.text) {
				t.Errorf("first(%q) = %v, want %s with %q", tt.message, err, tt.code, tt.text)
			}
		})
	}
}

// While no channel binding is offered, "y" (client could, server cannot) is as
// right as "n"; client-final repeats it in base64.
func TestServerTakesFlagsAndExtensions(t *testing.T) {
	for first, binding := range map[string]string{
		"n,,n=,r=abc":               "biws",
		"y,,n=,r=abc":               "eSws",
		"n,,n=ignored,r=abc,x=,y=1": "biws",
	} {
		s := scramServer{verifier: rfcKeys(t).Verifier(), nonce: "server"}
		if _, err := s.first([]byte(first)); err != nil {
			t.Errorf("first(%q) = %v", first, err)
			continue
		}
		_, _, err := s.final([]byte("c=" + binding + ",r=abcserver,x=1,p=" + encode64(make([]byte, keySize))))
		if !errors.Is(err, errProof) {
			t.Errorf("after %q: final = %v, want a wrong proof and nothing worse", first, err)
		}
	}
}

func TestServerRefusesClientFinal(t *testing.T) {
	proof := ",p=" + encode64(make([]byte, keySize))
	tests := []struct {
		name, message, text string
	}{
		{"empty", "", "malformed"},
		{"no binding", "r=abcserver" + proof, "malformed"},
		{"no nonce", "c=biws" + proof, "malformed"},
		{"no proof", "c=biws,r=abcserver", "malformed"},
		{"proof before nonce", "c=biws" + proof + ",r=abcserver", "malformed"},
		{"flag y after n", "c=eSws,r=abcserver" + proof, "channel-binding"},
		{"binding data", "c=biwsYWJj,r=abcserver" + proof, "channel-binding"},
		{"client's nonce only", "c=biws,r=abc" + proof, "invalid SCRAM response"},
		{"other nonce", "c=biws,r=abcserves" + proof, "invalid SCRAM response"},
		{"repeated binding", "c=biws,r=abcserver,c=biws" + proof, "malformed"},
		{"repeated proof", "c=biws,r=abcserver" + proof + proof, "malformed"},
		{"something behind the proof", "c=biws,r=abcserver" + proof + ",x=1", "malformed"},
		{"empty proof", "c=biws,r=abcserver,p=", "malformed"},
		{"short proof", "c=biws,r=abcserver,p=" + encode64(make([]byte, keySize-1)), "malformed"},
		{"long proof", "c=biws,r=abcserver,p=" + encode64(make([]byte, keySize+1)), "malformed"},
		{"proof with line break", "c=biws,r=abcserver" + proof[:9] + "\n" + proof[10:], "malformed"},
		{"proof with set padding bits", "c=biws,r=abcserver" + strings.TrimSuffix(proof, "A=") + "B=", "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := scramServer{verifier: rfcKeys(t).Verifier(), nonce: "server"}
			if _, err := s.first([]byte("n,,n=,r=abc")); err != nil {
				t.Fatal(err)
			}
			_, keys, err := s.final([]byte(tt.message))
			var e *wire.Error
			if keys != nil || !errors.As(err, &e) || e.Code != wire.CodeProtocolViolation || !strings.Contains(e.Message, tt.text) {
				t.Errorf("final(%q) = %v, want 08P01 with %q", tt.message, err, tt.text)
			}
		})
	}
}

// newClientAt is a client that has sent the RFC's nonce.
func newClientAt(credential Credential) *scramClient {
	return &scramClient{user: "user", credential: credential, min: DefaultMinIterations, nonce: "rOprNGfwEbeRWgbNEkqO"}
}

func TestClientRefusesServerFirst(t *testing.T) {
	const nonce = "r=rOprNGfwEbeRWgbNEkqOx"
	tests := []struct {
		name, message, text string
	}{
		{"empty", "", "malformed"},
		{"no salt", nonce + ",i=4096", "malformed"},
		{"no count", nonce + ",s=" + rfcSalt, "malformed"},
		{"mandatory extension", "m=x," + nonce + ",s=" + rfcSalt + ",i=4096", "malformed"},
		{"repeated salt", nonce + ",s=" + rfcSalt + ",s=" + rfcSalt + ",i=4096", "malformed"},
		{"our nonce only", "r=rOprNGfwEbeRWgbNEkqO,s=" + rfcSalt + ",i=4096", "does not extend"},
		{"another nonce", "r=xOprNGfwEbeRWgbNEkqOx,s=" + rfcSalt + ",i=4096", "does not extend"},
		{"unprintable nonce", nonce + "\x01,s=" + rfcSalt + ",i=4096", "does not extend"},
		{"empty salt", nonce + ",s=,i=4096", "salt"},
		{"salt is no base64", nonce + ",s=?,i=4096", "salt"},
		{"endless salt", nonce + ",s=" + strings.Repeat("A", 400) + ",i=4096", "salt"},
		{"count zero", nonce + ",s=" + rfcSalt + ",i=0", "iteration count"},
		{"count negative", nonce + ",s=" + rfcSalt + ",i=-4096", "iteration count"},
		{"count with a sign", nonce + ",s=" + rfcSalt + ",i=+4096", "iteration count"},
		{"count with leading zero", nonce + ",s=" + rfcSalt + ",i=04096", "iteration count"},
		{"count beyond int32", nonce + ",s=" + rfcSalt + ",i=4294967296", "iteration count"},
		{"count too low", nonce + ",s=" + rfcSalt + ",i=4095", "allowed are 4096 to 1000000"},
		{"count too high", nonce + ",s=" + rfcSalt + ",i=1000001", "allowed are 4096 to 1000000"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newClientAt(Credential{Password: "pencil"}).next([]byte(tt.message))
			if !errors.Is(err, ErrExchange) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("next(%q) = %v, want %q", tt.message, err, tt.text)
			}
		})
	}
}

func TestClientNeedsTheSameVerifierForKeys(t *testing.T) {
	keys := rfcKeys(t)
	if _, err := newClientAt(Credential{Keys: keys}).next([]byte(rfcServerFirst)); err != nil {
		t.Errorf("same salt and count: %v", err)
	}
	for name, message := range map[string]string{
		"another salt":  strings.Replace(rfcServerFirst, "s=W22", "s=X22", 1),
		"another count": strings.Replace(rfcServerFirst, "i=4096", "i=4097", 1),
	} {
		_, err := newClientAt(Credential{Keys: keys}).next([]byte(message))
		var missing *SecretError
		if !errors.As(err, &missing) || missing.User != "user" || !strings.Contains(err.Error(), "rolpassword") {
			t.Errorf("%s: %v, want a SecretError that names the remedy", name, err)
		}
	}
}

func TestClientRefusesServerFinal(t *testing.T) {
	tests := []struct {
		name, message, text string
	}{
		{"empty", "", "malformed"},
		{"error", "e=invalid-proof", `"invalid-proof"`},
		{"wrong signature", strings.Replace(rfcServerFinal, "v=6", "v=7", 1), "signature is wrong"},
		{"short signature", "v=" + encode64(make([]byte, 16)), "malformed"},
		{"repeated", rfcServerFinal + "," + rfcServerFinal, "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := newClientAt(Credential{Password: "pencil"})
			if _, err := c.next([]byte(rfcServerFirst)); err != nil {
				t.Fatal(err)
			}
			if err := c.finish([]byte(tt.message)); !errors.Is(err, ErrExchange) || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("finish(%q) = %v, want %q", tt.message, err, tt.text)
			}
		})
	}
}
