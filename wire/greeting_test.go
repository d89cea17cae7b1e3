package wire

import (
	"bytes"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

// Every message built here is compared with pgproto3's.
func TestGreetingAgainstPgproto3(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want interface {
			Encode([]byte) ([]byte, error)
		}
	}{
		{"AuthenticationOk", AppendAuthentication(nil, AuthOk, nil), &pgproto3.AuthenticationOk{}},
		{"cleartext", AppendAuthentication(nil, AuthCleartextPassword, nil), &pgproto3.AuthenticationCleartextPassword{}},
		{"MD5", AppendAuthentication(nil, AuthMD5Password, []byte("salt")),
			&pgproto3.AuthenticationMD5Password{Salt: [4]byte([]byte("salt"))}},
		{"SASL", AppendAuthenticationSASL(nil, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"),
			&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}}},
		{"SASLContinue", AppendAuthentication(nil, AuthSASLContinue, []byte("data")),
			&pgproto3.AuthenticationSASLContinue{Data: []byte("data")}},
		{"SASLFinal", AppendAuthentication(nil, AuthSASLFinal, []byte("data")),
			&pgproto3.AuthenticationSASLFinal{Data: []byte("data")}},
		{"ParameterStatus", AppendParameterStatus(nil, Param{"TimeZone", "UTC"}),
			&pgproto3.ParameterStatus{Name: "TimeZone", Value: "UTC"}},
		{"BackendKeyData", AppendBackendKeyData(nil, 7, []byte{0, 0, 0, 9}),
			&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: 9}},
		{"ReadyForQuery", AppendReadyForQuery(nil, 'I'), &pgproto3.ReadyForQuery{TxStatus: 'I'}},
		{"PasswordMessage", AppendPassword(nil, "secret"), &pgproto3.PasswordMessage{Password: "secret"}},
		{"SASLInitialResponse", AppendSASLInitialResponse(nil, "SCRAM-SHA-256", []byte("n,,")),
			&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,")}},
		{"SASLResponse", AppendSASLResponse(nil, []byte("c=biws")), &pgproto3.SASLResponse{Data: []byte("c=biws")}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, err := tt.want.Encode(nil)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(tt.got, want) {
				t.Errorf("got %q, want %q", tt.got, want)
			}
		})
	}
}

// pgproto3 v2 does not know this message. libpq reads the version in full, then
// the number of names.
func TestAppendNegotiateProtocolVersion(t *testing.T) {
	got := AppendNegotiateProtocolVersion([]byte("x"), ProtocolVersion30, []string{"_pq_.a", "_pq_.b"})
	want := "xv\x00\x00\x00\x1a\x00\x03\x00\x00\x00\x00\x00\x02_pq_.a\x00_pq_.b\x00"
	if string(got) != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
