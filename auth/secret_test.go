package auth

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

const goodVerifier = "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==" +
	"$WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="

func TestParseSecretKinds(t *testing.T) {
	hex := strings.Repeat("0123456789abcdef", 2)
	for text, want := range map[string]Kind{
		"":                           NoSecret,
		"pencil":                     PlainSecret,
		"md5" + hex:                  MD5Secret,
		"md5" + hex + "0":            PlainSecret,
		"md5" + hex[1:]:              PlainSecret,
		"md5" + strings.ToUpper(hex): PlainSecret,
		"MD5" + hex:                  PlainSecret,
		goodVerifier:                 SCRAMSecret,
		"SCRAM-SHA-256":              PlainSecret,
		"scram-sha-256$":             PlainSecret,
	} {
		s, err := ParseSecret(text)
		if err != nil || s.Kind() != want {
			t.Errorf("ParseSecret(%q) is %v, %v, want %v", text, s.Kind(), err, want)
		}
	}
}

func TestParseSecretRefusesDamagedVerifier(t *testing.T) {
	tests := []struct{ name, old, new string }{
		{"no count", "4096:", ":"},
		{"count with leading zero", "4096", "04096"},
		{"count zero", "4096", "0"},
		{"negative count", "4096", "-1"},
		{"count beyond int32", "4096", "2147483648"},
		{"no salt", "W22ZaJ0SNY7soEsUEjb6gQ==", ""},
		{"salt without padding", "gQ==", "gQ"},
		{"line break in salt", "W22Z", "W2\n2Z"},
		{"short StoredKey", "$WG5d", "$"},
		{"short ServerKey", ":wfPL", ":"},
		{"set padding bits", "l2dU=", "l2dV="},
		{"no ServerKey", goodVerifier[strings.LastIndex(goodVerifier, ":"):], ""},
		{"only the prefix", goodVerifier[len(verifierPrefix):], ""},
		{"zero byte", "W22Z", "W2\x00Z"},
		{"something behind", "l2dU=", "l2dU=:x"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			text := strings.Replace(goodVerifier, tt.old, tt.new, 1)
			s, err := ParseSecret(text)
			if err == nil || s.Kind() != NoSecret {
				t.Fatalf("ParseSecret(%q) is %v, want an error", text, s.Kind())
			}
			if strings.Contains(err.Error(), "WG5d") || strings.Contains(err.Error(), "wfPL") {
				t.Errorf("error shows the secret: %v", err)
			}
		})
	}
}

func TestVerifierOfRFC7677(t *testing.T) {
	if got := rfcKeys(t).Verifier().Encode(); got != goodVerifier {
		t.Errorf("verifier of pencil is %s, want %s", got, goodVerifier)
	}
}

// No verb and no encoder shows a secret, nor does a struct around it.
func TestSecretsAreRedacted(t *testing.T) {
	secret := mustSecret(t, "pencil")
	keys := Keys{Salt: []byte("pencil"), Iterations: 4096}
	copy(keys.ClientKey[:], "pencil")
	verifier := Verifier{Salt: []byte("pencil")}
	credential := Credential{Password: "pencil", Keys: &keys}
	type holder struct {
		S Secret
		K *Keys
		V Verifier
		C Credential
	}
	for _, v := range []any{secret, &secret, keys, &keys, verifier, &verifier, credential, &credential,
		holder{secret, &keys, verifier, credential}, ClientConfig{Credential: credential},
		[]Secret{secret}, map[string]Credential{"a": credential}} {
		texts := map[string]string{"Sprint": fmt.Sprint(v)}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%c", "%U"} {
			texts[verb] = fmt.Sprintf(verb, v)
		}
		encoded, err := json.Marshal(v)
		if err == nil { // a ClientConfig has an interface that JSON refuses
			texts["json"] = string(encoded)
		}
		for how, text := range texts {
			for _, shown := range []string{"pencil", "70656e63696c", "70656E63696C", "112 101", "160 145", "[p e", "U+0070", "cGVuY2ls"} {
				if strings.Contains(text, shown) {
					t.Errorf("%T by %s shows the secret: %s", v, how, text)
				}
			}
		}
	}
}

func FuzzParseSecret(f *testing.F) {
	f.Add(goodVerifier)
	f.Add("md5" + strings.Repeat("0", 32))
	f.Add("pencil")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseSecret(text)
		if err != nil {
			return
		}
		again := s.text
		if s.kind == SCRAMSecret {
			again = s.verifier.Encode()
		}
		if again != text {
			t.Fatalf("%v re-encoded to %q, was %q", s.kind, again, text)
		}
	})
}
