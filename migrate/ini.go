package migrate

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
)

// maxIncludes bounds how deep %include goes, as PgBouncer does: a file that
// includes itself would never end.
const maxIncludes = 10

// maxBytes bounds what all files may hold together: includes multiply.
const maxBytes = 1 << 22

// entry is one line of the form "key = value".
type entry struct {
	file         string
	line         int
	section, key string
	value        string
}

// scanner reads pgbouncer.ini and what it includes.
type scanner struct {
	read    func(path string) ([]byte, error)
	section string // goes on across includes, as in PgBouncer
	bytes   int
	entries []entry
}

// file reads one file. The error names the line.
func (s *scanner) file(path string, depth int) error {
	data, err := s.read(path)
	if err != nil {
		return err
	}
	if s.bytes += len(data); s.bytes > maxBytes {
		return fmt.Errorf("%s: all files together are larger than %d bytes", path, maxBytes)
	}
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		if err := s.line(path, number, strings.TrimSpace(line), depth); err != nil {
			return fmt.Errorf("%s:%d: %w", path, number, err)
		}
	}
	return nil
}

func (s *scanner) line(path string, number int, line string, depth int) error {
	switch {
	case line == "", line[0] == ';', line[0] == '#':
		return nil
	case strings.HasPrefix(line, "%include ") || strings.HasPrefix(line, "%include\t"):
		if depth == maxIncludes {
			return errors.New("%include goes too deep")
		}
		return s.include(path, strings.TrimSpace(line[len("%include"):]), depth)
	case line[0] == '[':
		end := strings.IndexByte(line, ']')
		if end < 0 {
			return errors.New("section without its ]")
		}
		s.section = line[1:end]
		if rest := strings.TrimSpace(line[end+1:]); rest != "" {
			return s.line(path, number, rest, depth)
		}
		return nil
	}
	key, value, err := splitLine(line)
	if err != nil {
		return err
	}
	s.entries = append(s.entries, entry{path, number, s.section, key, value})
	return nil
}

// include reads a file that another one names. PgBouncer starts from its working
// directory, which need not be the one of today: the folder of the other file is
// tried too.
func (s *scanner) include(from, path string, depth int) error {
	err := s.file(path, depth+1)
	if beside := filepath.Join(filepath.Dir(from), path); err != nil && !filepath.IsAbs(path) && beside != path {
		if _, missing := s.read(path); missing != nil {
			return s.file(beside, depth+1)
		}
	}
	return err
}

// splitLine parts a line at its "=". A key with other characters than those of
// names stands in quotes.
func splitLine(line string) (key, value string, err error) {
	rest := line
	if quote := line[0]; quote == '\'' || quote == '"' {
		end := strings.IndexByte(line[1:], quote)
		if end <= 0 {
			return "", "", errors.New("key without its closing quote")
		}
		key, rest = line[1:1+end], strings.TrimLeft(line[2+end:], " \t")
	} else {
		end := strings.IndexAny(line, "= \t")
		if end <= 0 {
			return "", "", errors.New("must be a key, = and a value")
		}
		key, rest = line[:end], strings.TrimLeft(line[end:], " \t")
	}
	if !strings.HasPrefix(rest, "=") {
		return "", "", errors.New("must be a key, = and a value")
	}
	return key, strings.TrimSpace(rest[1:]), nil
}

// pair is one setting of a database or a user.
type pair struct{ key, value string }

// splitPairs parts the value of a database or a user: key=value, with blanks
// between, and quotes around a value with blanks in it.
func splitPairs(text string) ([]pair, error) {
	var pairs []pair
	for text = strings.TrimLeft(text, " \t"); text != ""; text = strings.TrimLeft(text, " \t") {
		end := strings.IndexAny(text, "= ")
		if end <= 0 {
			return nil, errors.New("must be settings of the form key=value")
		}
		key, rest := text[:end], strings.TrimLeft(text[end:], " \t")
		if !strings.HasPrefix(rest, "=") {
			return nil, fmt.Errorf("%s has no value", key)
		}
		value, rest, err := cutValue(strings.TrimLeft(rest[1:], " \t"))
		if err != nil {
			return nil, fmt.Errorf("%s %w", key, err)
		}
		pairs = append(pairs, pair{key, value})
		text = rest
	}
	return pairs, nil
}

// cutValue takes the first value of text; two quotes within quotes are one.
func cutValue(text string) (value, rest string, err error) {
	if !strings.HasPrefix(text, "'") {
		value, rest, _ = strings.Cut(text, " ")
		if value == "" {
			return "", "", errors.New("has no value")
		}
		return value, rest, nil
	}
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		if text[i] != '\'' {
			b.WriteByte(text[i])
			continue
		}
		if i+1 < len(text) && text[i+1] == '\'' {
			b.WriteByte('\'')
			i++
			continue
		}
		if b.Len() == 0 {
			return "", "", errors.New("has no value")
		}
		return b.String(), text[i+1:], nil
	}
	return "", "", errors.New("has no closing quote")
}
