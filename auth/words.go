package auth

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
)

// word is one token of a line of pg_hba.conf or pg_ident.conf: a word, or the
// comma that goes on with a list.
type word struct {
	text   string
	quoted bool // it began with a double quote, so it is no keyword
	comma  bool
}

// is reports whether the word is this keyword.
func (w word) is(keyword string) bool { return !w.quoted && !w.comma && w.text == keyword }

// splitWords cuts a line: words stand between blanks, a double quote inside
// quotes is written twice, a bare "#" begins a comment. Commas may have blanks
// around them, as with PgBouncer.
func splitWords(line string) ([]word, error) {
	var words []word
	for {
		line = strings.TrimLeft(line, " \t\r\n\v\f")
		switch {
		case line == "" || line[0] == '#':
			return words, nil
		case line[0] == ',':
			words = append(words, word{comma: true})
			line = line[1:]
		default:
			w, rest, err := cutWord(line)
			if err != nil {
				return nil, err
			}
			words, line = append(words, w), rest
		}
	}
}

// cutWord takes a word off the front. Quotes may begin inside it: map="my map".
func cutWord(line string) (w word, rest string, err error) {
	w.quoted = line[0] == '"'
	for line != "" && !strings.ContainsRune(" \t\r\n\v\f,#", rune(line[0])) {
		if line[0] == '"' {
			part, after, err := cutQuoted(line)
			if err != nil {
				return w, "", err
			}
			w.text += part
			line = after
			continue
		}
		end := strings.IndexAny(line, " \t\r\n\v\f,#\"")
		if end < 0 {
			end = len(line)
		}
		w.text += line[:end]
		line = line[end:]
	}
	if strings.ContainsRune(w.text, 0) {
		return w, "", errors.New("contains a zero byte")
	}
	return w, line, nil
}

// eachLine gives the words of each line that has some, and joins the faults,
// each with its line.
func eachLine(text []byte, read func(number int, words []word) error) error {
	var faults []error
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		number++
		words, err := splitWords(string(line))
		if err == nil && len(words) > 0 {
			err = read(number, words)
		}
		if err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", number, err))
		}
	}
	return errors.Join(faults...)
}
