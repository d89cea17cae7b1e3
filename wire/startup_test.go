package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

// packet is the body of a startup packet: a code, then raw bytes.
func packet(code uint32, rest string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, code), rest...)
}

func TestStartupLengthBounds(t *testing.T) {
	tests := []struct {
		name string
		hdr  []byte
		want int // 0: refused
	}{
		{"SSLRequest", []byte{0, 0, 0, 8}, 4},
		{"longest", []byte{0, 0, 0x27, 0x14}, MaxStartupPacket},
		{"no code", []byte{0, 0, 0, 7}, 0},
		{"zero", []byte{0, 0, 0, 0}, 0},
		{"one too long", []byte{0, 0, 0x27, 0x15}, 0},
		{"negative", []byte{0xff, 0xff, 0xff, 0xff}, 0},
		{"least negative", []byte{0x80, 0, 0, 0}, 0},
		{"TLS ClientHello", []byte{0x16, 3, 1, 2}, 0},
		{"HTTP", []byte("GET "), 0},
		{"cut short", []byte{0, 0, 0}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n, err := StartupLength(tt.hdr)
			if n != tt.want || (err == nil) != (tt.want > 0) {
				t.Errorf("StartupLength(%x) = %d, %v, want %d", tt.hdr, n, err, tt.want)
			}
			if err != nil {
				wantError(t, err, CodeProtocolViolation, "invalid length of startup packet")
			}
		})
	}
}

func wantError(t *testing.T, err error, code, message string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error is %v, want an *Error", err)
	}
	if e.Severity != SeverityFatal || e.Code != code || e.Message != message {
		t.Errorf("error is %v, want FATAL: %s (SQLSTATE %s)", e, message, code)
	}
}

func TestParseStartupKeepsParametersInOrder(t *testing.T) {
	body := packet(ProtocolVersion30, "user\x00alice\x00a\x001\x00database\x00shop\x00a\x002\x00empty\x00\x00\x00")
	s, err := ParseStartup(body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body) // what was parsed must not depend on the caller's buffer
	want := []Param{{"user", "alice"}, {"a", "1"}, {"database", "shop"}, {"a", "2"}, {"empty", ""}}
	if !slices.Equal(s.Params, want) {
		t.Errorf("Params = %q, want %q", s.Params, want)
	}
	if v, ok := s.Get("a"); v != "2" || !ok {
		t.Errorf(`Get("a") = %q, %v, want the last value "2"`, v, ok)
	}
	if v, ok := s.Get("empty"); v != "" || !ok {
		t.Errorf(`Get("empty") = %q, %v, want "", true`, v, ok)
	}
	if v, ok := s.Get("absent"); v != "" || ok {
		t.Errorf(`Get("absent") = %q, %v, want "", false`, v, ok)
	}
	if got := s.Database(); got != "shop" {
		t.Errorf("Database() = %q, want shop", got)
	}
}

func TestParseStartupDatabaseDefaultsToUser(t *testing.T) {
	for _, rest := range []string{"user\x00alice\x00\x00", "user\x00alice\x00database\x00\x00\x00"} {
		s, err := ParseStartup(packet(ProtocolVersion30, rest))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Database(); got != "alice" {
			t.Errorf("%q: Database() = %q, want alice", rest, got)
		}
	}
}

func TestParseStartupRefuses(t *testing.T) {
	const layout = "invalid startup packet layout: expected terminator as last byte"
	const noUser = "no PostgreSQL user name specified in startup packet"
	const length = "invalid length of startup packet"
	const cancel = "invalid length of query cancel packet"
	tests := []struct {
		name          string
		body          []byte
		code, message string
	}{
		{"empty", nil, CodeProtocolViolation, length},
		{"half a code", []byte{0, 3}, CodeProtocolViolation, length},
		{"too long", make([]byte, MaxStartupPacket+1), CodeProtocolViolation, length},
		{"nothing after version", packet(ProtocolVersion30, ""), CodeProtocolViolation, layout},
		{"no terminator", packet(ProtocolVersion30, "user\x00alice\x00"), CodeProtocolViolation, layout},
		{"value not terminated", packet(ProtocolVersion30, "user\x00alice"), CodeProtocolViolation, layout},
		{"name without value", packet(ProtocolVersion30, "user\x00alice\x00x\x00"), CodeProtocolViolation, layout},
		{"bytes behind terminator", packet(ProtocolVersion30, "user\x00alice\x00\x00x"), CodeProtocolViolation, layout},
		{"double terminator", packet(ProtocolVersion30, "user\x00alice\x00\x00\x00"), CodeProtocolViolation, layout},
		{"no user", packet(ProtocolVersion30, "database\x00shop\x00\x00"), CodeInvalidAuthorization, noUser},
		{"empty user", packet(ProtocolVersion30, "user\x00\x00\x00"), CodeInvalidAuthorization, noUser},
		{"no parameter", packet(ProtocolVersion30, "\x00"), CodeInvalidAuthorization, noUser},
		{"protocol 2", packet(2<<16, "user\x00a\x00\x00"), CodeFeatureNotSupported,
			"unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
		{"protocol 4", packet(4<<16|1, "user\x00a\x00\x00"), CodeFeatureNotSupported,
			"unsupported frontend protocol 4.1: server supports 3.0 to 3.2"},
		{"unknown request", packet(1234<<16|5681, ""), CodeFeatureNotSupported,
			"unsupported frontend protocol 1234.5681: server supports 3.0 to 3.2"},
		{"SSLRequest with a tail", packet(SSLRequestCode, "x"), CodeProtocolViolation, length},
		{"GSSENCRequest with a tail", packet(GSSENCRequestCode, "x"), CodeProtocolViolation, length},
		{"cancel without key", packet(CancelRequestCode, "\x00\x00\x00\x01"), CodeProtocolViolation, cancel},
		{"cancel with 3 bytes", packet(CancelRequestCode, "\x00\x00\x00\x01abc"), CodeProtocolViolation, cancel},
		{"cancel with 257 bytes", packet(CancelRequestCode, strings.Repeat("k", 4+257)), CodeProtocolViolation, cancel},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseStartup(tt.body)
			wantError(t, err, tt.code, tt.message)
		})
	}
}

func TestParseStartupRequests(t *testing.T) {
	for _, code := range []uint32{SSLRequestCode, GSSENCRequestCode} {
		if s, err := ParseStartup(packet(code, "")); err != nil || s.Code != code {
			t.Errorf("ParseStartup(%d) = %v, %v", code, s, err)
		}
	}
	for _, key := range []string{"four", strings.Repeat("k", 256)} {
		body := packet(CancelRequestCode, "\x01\x02\x03\x04"+key)
		s, err := ParseStartup(body)
		clear(body)
		if err != nil || s.ProcessID != 0x01020304 || string(s.SecretKey) != key {
			t.Errorf("cancel with a key of %d bytes: %v, %v", len(key), s, err)
		}
	}
}

// Since PostgreSQL 19 libpq asks for 3.9999 and _pq_.test_protocol_negotiation
// to find servers that do not negotiate.
func TestNegotiate(t *testing.T) {
	tests := []struct {
		name    string
		code    uint32
		rest    string
		unknown []string
		needed  bool
		version uint32
	}{
		{"3.0", ProtocolVersion30, "user\x00a\x00\x00", nil, false, ProtocolVersion30},
		{"3.1", ProtocolVersion30 | 1, "user\x00a\x00\x00", nil, false, ProtocolVersion30 | 1},
		{"3.2", ProtocolVersion32, "user\x00a\x00\x00", nil, false, ProtocolVersion32},
		{"3.3", ProtocolVersion30 | 3, "user\x00a\x00\x00", nil, true, ProtocolVersion32},
		{"3.9999 and an extension", ProtocolVersion30 | 9999,
			"user\x00a\x00_pq_.test_protocol_negotiation\x00\x00\x00", []string{"_pq_.test_protocol_negotiation"}, true, ProtocolVersion32},
		{"3.0 and two extensions", ProtocolVersion30,
			"_pq_.b\x001\x00user\x00a\x00_pq_.a\x001\x00\x00", []string{"_pq_.b", "_pq_.a"}, true, ProtocolVersion30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s, err := ParseStartup(packet(tt.code, tt.rest))
			if err != nil {
				t.Fatal(err)
			}
			unknown, needed := s.Negotiate()
			if !slices.Equal(unknown, tt.unknown) || needed != tt.needed {
				t.Errorf("Negotiate() = %q, %v, want %q, %v", unknown, needed, tt.unknown, tt.needed)
			}
			if got := s.Version(); got != tt.version {
				t.Errorf("Version() = %#x, want %#x", got, tt.version)
			}
		})
	}
}

// A NUL in a name or value would make one parameter into several.
func TestStartupAppendDropsZeroBytes(t *testing.T) {
	s := Startup{Code: ProtocolVersion30, Params: []Param{{"user", "a\x00role\x00postgres"}}}
	got, err := ParseStartup(s.Append(nil)[4:])
	if err != nil || len(got.Params) != 1 {
		t.Errorf("parsed again: %v, %v, want one parameter", got, err)
	}
}

func FuzzParseStartup(f *testing.F) {
	f.Add(packet(ProtocolVersion30, "user\x00alice\x00database\x00shop\x00\x00"))
	f.Add(packet(ProtocolVersion30|2, "user\x00alice\x00_pq_.x\x00\x00\x00"))
	f.Add(packet(ProtocolVersion30, "user\x00a\x00\x00\x00"))
	f.Add(packet(SSLRequestCode, ""))
	f.Add(packet(CancelRequestCode, "\x00\x00\x00\x01four"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ParseStartup(body)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !e.Fatal() {
				t.Fatalf("error %v is not a FATAL of ours", err)
			}
			return
		}
		again := s.Append([]byte("x"))[1:]
		if n, err := StartupLength(again); err != nil || n != len(body) {
			t.Fatalf("StartupLength of the re-encoded packet = %d, %v, want %d", n, err, len(body))
		}
		if !bytes.Equal(again[4:], body) {
			t.Fatalf("re-encoded to %q, was %q", again[4:], body)
		}
		compareStartup(t, s, body)
	})
}

// compareStartup holds a 3.0 packet against what pgproto3 reads from it.
func compareStartup(t *testing.T, s *Startup, body []byte) {
	t.Helper()
	if s.Code != pgproto3.ProtocolVersionNumber {
		return
	}
	var other pgproto3.StartupMessage
	if err := other.Decode(body); err != nil {
		t.Fatalf("pgproto3 refuses %q: %v", body, err)
	}
	for name, want := range other.Parameters {
		if got, ok := s.Get(name); !ok || got != want {
			t.Fatalf("Get(%q) = %q, %v, pgproto3 has %q", name, got, ok, want)
		}
	}
}
