package corpus

import (
	"fmt"
	"strconv"
	"strings"
)

// maxRepeat bounds "x"*N, so that a typing error does not eat the machine.
const maxRepeat = 64 << 20

// word is one argument of an instruction.
type word struct {
	text   string
	quoted bool
	binary bool // b"...": the argument travels in binary format
}

// isNull reports the bare word null: SQL NULL, where "null" is a text.
func (w word) isNull() bool {
	return w.text == "null" && !w.quoted
}

// splitWords cuts a line into words. A quoted word may hold any byte.
func splitWords(line string) ([]word, error) {
	var words []word
	for {
		line = strings.TrimLeft(line, " \t")
		if line == "" {
			return words, nil
		}
		w, rest, err := nextWord(line)
		if err != nil {
			return nil, err
		}
		words = append(words, w)
		line = rest
	}
}

func nextWord(line string) (word, string, error) {
	binary := strings.HasPrefix(line, `b"`)
	if binary {
		line = line[1:]
	}
	if line[0] != '"' && line[0] != '`' {
		end := strings.IndexAny(line, " \t")
		if end < 0 {
			end = len(line)
		}
		return word{text: line[:end]}, line[end:], nil
	}
	text, rest, err := quotedSum(line)
	return word{text: text, quoted: true, binary: binary}, rest, err
}

// quotedSum reads "a"*3+"b" and what follows it.
func quotedSum(line string) (text, rest string, err error) {
	var sum strings.Builder
	for {
		quoted, err := strconv.QuotedPrefix(line)
		if err != nil {
			return "", "", fmt.Errorf("string at %.20q: %w", line, err)
		}
		part, err := strconv.Unquote(quoted)
		if err != nil {
			return "", "", fmt.Errorf("string at %.20q: %w", line, err)
		}
		line = line[len(quoted):]
		n, rest, err := repeatCount(line)
		if err != nil {
			return "", "", err
		}
		if n*len(part) > maxRepeat {
			return "", "", fmt.Errorf("repeated %d times, more than %d bytes", n, maxRepeat)
		}
		sum.WriteString(strings.Repeat(part, n))
		if !strings.HasPrefix(rest, "+") {
			return sum.String(), rest, nil
		}
		line = rest[1:]
	}
}

// repeatCount reads an optional *N.
func repeatCount(s string) (n int, rest string, err error) {
	if !strings.HasPrefix(s, "*") {
		return 1, s, nil
	}
	end := 1
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		end++
	}
	n, err = strconv.Atoi(s[1:end])
	if err != nil {
		return 0, "", fmt.Errorf("repeat count: %w", err)
	}
	if n > maxRepeat {
		return 0, "", fmt.Errorf("repeat count %d is over %d", n, maxRepeat)
	}
	return n, s[end:], nil
}

// quoteRuns is the inverse of quotedSum: it writes bytes as Go strings, with
// long runs of one byte folded, so that a golden of a 1 MB row stays one line.
func quoteRuns(body []byte) string {
	const fold = 32
	var parts []string
	start := 0
	for i := 0; i < len(body); {
		end := i
		for end < len(body) && body[end] == body[i] {
			end++
		}
		if end-i >= fold {
			if i > start {
				parts = append(parts, quoteBytes(body[start:i]))
			}
			parts = append(parts, fmt.Sprintf("%s*%d", quoteBytes(body[i:i+1]), end-i))
			start = end
		}
		i = end
	}
	if start < len(body) || len(parts) == 0 {
		parts = append(parts, quoteBytes(body[start:]))
	}
	return strings.Join(parts, "+")
}

// quoteBytes escapes all that is not ASCII, so that a golden survives editors;
// what is not UTF-8 becomes \x and reads back as the same bytes.
func quoteBytes(b []byte) string {
	return strconv.QuoteToASCII(string(b))
}
