package wire

import (
	"bytes"
	"reflect"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

func TestErrorAppendParsesBack(t *testing.T) {
	tests := []Error{
		{Severity: SeverityFatal, Code: CodeInvalidPassword, Message: "no"},
		{Severity: SeverityError, Code: CodeTooManyConnections, Message: "full", Detail: "10 of 10", Hint: "max_client_conn"},
		{Severity: SeverityNotice, Code: CodeSuccess, Message: "wait"},
	}
	for _, want := range tests {
		message := want.Append([]byte("x"))[1:]
		got := ParseError(message[5:])
		typ := byte('E')
		if want.Severity == SeverityNotice {
			typ = 'N'
		}
		if n := len(message) - 1; message[0] != typ || int(message[3])<<8+int(message[4]) != n {
			t.Errorf("header is %q, want a message of %d bytes", message[:5], n)
		}
		got.Raw = nil
		if !reflect.DeepEqual(*got, want) {
			t.Errorf("parsed back: %+v, want %+v", *got, want)
		}
	}
}

func TestErrorAppendDropsZeroBytes(t *testing.T) {
	e := Fatal(CodeInvalidPassword, "user \"a\x00Hfake hint\x00\"", "")
	if got := ParseError(e.Append(nil)[5:]); got.Hint != "" || got.Code != CodeInvalidPassword {
		t.Errorf("a zero byte in the message made a field: %+v", got)
	}
}

// Servers may translate field S; field V is always English (since 9.6).
func TestParseErrorPrefersUntranslatedSeverity(t *testing.T) {
	for name, body := range map[string]string{
		"S first":           "SFATAAL\x00VFATAL\x00\x00",
		"V first":           "VFATAL\x00SFATAAL\x00\x00",
		"server before 9.6": "SFATAL\x00\x00",
	} {
		if e := ParseError([]byte(body)); e.Severity != SeverityFatal || !e.Fatal() {
			t.Errorf("%s: severity %q, want FATAL", name, e.Severity)
		}
	}
}

// CVE-2026-6666: an ErrorResponse without SQLSTATE crashed a pooler.
func TestParseErrorTakesWhatIsThere(t *testing.T) {
	for name, body := range map[string]string{
		"empty":            "",
		"terminator only":  "\x00",
		"no SQLSTATE":      "SERROR\x00Mno code\x00\x00",
		"cut in a field":   "SERROR\x00Mno en",
		"no terminator":    "SERROR\x00",
		"unknown fields":   "Zx\x00\xffy\x00\x00",
		"field type alone": "S",
	} {
		e := ParseError([]byte(body))
		if e.Code != "" || e.Raw == nil || string(e.Raw) != body {
			t.Errorf("%s: %+v, want no code and the body in Raw", name, e)
		}
		if got := string(e.Append(nil)[5:]); got != body {
			t.Errorf("%s: passed on as %q, want %q", name, got, body)
		}
	}
}

func FuzzParseError(f *testing.F) {
	f.Add([]byte("SFATAL\x00VFATAL\x00C28P01\x00Mpassword authentication failed\x00Dd\x00Hh\x00\x00"))
	f.Add([]byte("SERROR\x00"))
	f.Add([]byte{0})
	f.Fuzz(func(t *testing.T, body []byte) {
		e := ParseError(body)
		if out := e.Append(nil); !bytes.Equal(out[5:], body) {
			t.Fatalf("passed on as %q, was %q", out[5:], body)
		}
		var other pgproto3.ErrorResponse
		if other.Decode(body) != nil {
			return
		}
		if e.Code != other.Code || e.Message != other.Message || e.Detail != other.Detail || e.Hint != other.Hint {
			t.Fatalf("%q read as %+v, by pgproto3 as %+v", body, e, other)
		}
		if v := other.SeverityUnlocalized; v != "" && e.Severity != v {
			t.Fatalf("%q: severity %q, pgproto3 has %q", body, e.Severity, v)
		}
	})
}
