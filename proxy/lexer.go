package proxy

// lexer cuts a statement into words and signs, as far as finding key words needs:
// literals, quoted names and comments are passed over. It follows PostgreSQL's
// scanner with standard_conforming_strings on ("Lexical Structure", chapter 4.1).
// A text that it misreads is judged wrongly, never changed.
type lexer struct {
	text []byte
	at   int
	code bool // look inside dollar quotes: the body of a DO
}

// next returns the next word, or sign of one byte; nil at the end. A literal is
// the sign ', a quoted name the sign ".
func (l *lexer) next() []byte {
	for l.at < len(l.text) {
		from := l.at
		c := l.text[from]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == 0:
			l.at++
			continue
		case letter(c):
			for l.at < len(l.text) && (letter(l.text[l.at]) || digit(l.text[l.at])) {
				l.at++
			}
			if l.escapes(from) {
				l.literal('\'', true)
				return l.text[from+1 : from+2]
			}
			return l.text[from:l.at]
		case c == '-' && l.peek(1) == '-':
			for l.at < len(l.text) && l.text[l.at] != '\n' {
				l.at++
			}
			continue
		case c == '/' && l.peek(1) == '*':
			l.comment()
			continue
		case c == '\'' || c == '"':
			l.literal(c, false)
		case c == '$' && l.dollar():
			if l.code {
				continue
			}
			return l.text[from : from+1]
		default:
			l.at++
		}
		return l.text[from : from+1]
	}
	return nil
}

func (l *lexer) peek(n int) byte {
	if l.at+n < len(l.text) {
		return l.text[l.at+n]
	}
	return 0
}

// escapes reports that the word which begins at from is the E of E'...'.
func (l *lexer) escapes(from int) bool {
	return l.at == from+1 && l.text[from]|0x20 == 'e' && l.peek(0) == '\''
}

// literal passes over what begins and ends with quote.
func (l *lexer) literal(quote byte, escapes bool) {
	for l.at++; l.at < len(l.text); l.at++ {
		switch {
		case escapes && l.text[l.at] == '\\':
			l.at++
		case l.text[l.at] == quote && l.peek(1) == quote:
			l.at++
		case l.text[l.at] == quote:
			l.at++
			return
		}
	}
	l.at = len(l.text)
}

// comment passes over a block comment; they nest.
func (l *lexer) comment() {
	depth := 0
	for l.at < len(l.text) {
		switch {
		case l.text[l.at] == '/' && l.peek(1) == '*':
			depth++
			l.at += 2
		case l.text[l.at] == '*' && l.peek(1) == '/':
			depth--
			l.at += 2
			if depth == 0 {
				return
			}
		default:
			l.at++
		}
	}
}

// dollar passes over a dollar-quoted literal, or where code is to be seen only
// over its sign. It returns false when there is none: $1 is a parameter.
func (l *lexer) dollar() bool {
	end := l.at + 1
	for end < len(l.text) && (letter(l.text[end]) || end > l.at+1 && digit(l.text[end])) {
		end++
	}
	if end >= len(l.text) || l.text[end] != '$' {
		return false
	}
	sign := l.text[l.at : end+1]
	l.at = end + 1
	if l.code {
		return true
	}
	for l.at < len(l.text) {
		if l.text[l.at] == '$' && len(l.text)-l.at >= len(sign) && string(l.text[l.at:l.at+len(sign)]) == string(sign) {
			l.at += len(sign)
			return true
		}
		l.at++
	}
	return true
}

func letter(c byte) bool {
	return 'a' <= c|0x20 && c|0x20 <= 'z' || c == '_' || c >= 0x80
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

// is compares a word with a key word in lower case.
func is(word []byte, key string) bool {
	if len(word) != len(key) {
		return false
	}
	for i := range len(key) {
		c := word[i]
		if 'A' <= c && c <= 'Z' {
			c |= 0x20
		}
		if c != key[i] {
			return false
		}
	}
	return true
}
