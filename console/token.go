package console

import "strings"

// tokenKind tells the tokens of a command apart.
type tokenKind uint8

const (
	tokenWord   tokenKind = iota // bare, kept as it was written
	tokenQuoted                  // "..." with "" for a quote
	tokenString                  // '...' with '' for a quote
	tokenSign                    // any other character
)

type token struct {
	kind tokenKind
	text string // without its quotes
}

// tokens cuts a command into tokens. Comments and white space part them. It
// returns false when a quote or a comment does not end.
func tokens(sql string) ([]token, bool) {
	var list []token
	for {
		var ok bool
		if sql, ok = skipSpace(sql); !ok {
			return nil, false
		}
		if sql == "" {
			return list, true
		}
		t := token{kind: tokenSign, text: sql[:1]}
		switch c := sql[0]; {
		case c == '"' || c == '\'':
			var rest string
			if t.text, rest, ok = unquote(sql[1:], c); !ok {
				return nil, false
			}
			t.kind = tokenQuoted
			if c == '\'' {
				t.kind = tokenString
			}
			sql = rest
		case wordByte(c):
			n := 1
			for n < len(sql) && wordByte(sql[n]) {
				n++
			}
			t.kind, t.text, sql = tokenWord, sql[:n], sql[n:]
		default:
			sql = sql[1:]
		}
		list = append(list, t)
	}
}

// wordByte reports the characters of a bare word. PgBouncer's are letters, digits
// and the underscore; with dots and signs numbers need no quotes either.
func wordByte(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		c == '_' || c == '.' || c == '-' || c == '+' || c >= 0x80
}

// skipSpace skips white space and comments, -- and /* */. It returns false when a
// comment does not end.
func skipSpace(sql string) (string, bool) {
	for {
		sql = strings.TrimLeft(sql, " \t\n\r\f\v")
		switch {
		case strings.HasPrefix(sql, "--"):
			_, rest, more := strings.Cut(sql, "\n")
			if !more {
				return "", true
			}
			sql = rest
		case strings.HasPrefix(sql, "/*"):
			_, rest, ended := strings.Cut(sql[2:], "*/")
			if !ended {
				return "", false
			}
			sql = rest
		default:
			return sql, true
		}
	}
}

// unquote reads up to the closing quote, of which two stand for one.
func unquote(s string, quote byte) (text, rest string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == quote {
			if i+1 == len(s) || s[i+1] != quote {
				return b.String(), s[i+1:], true
			}
			i++
		}
		b.WriteByte(s[i])
	}
	return "", "", false
}
