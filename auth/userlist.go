package auth

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// UserList is a parsed auth_file. It is immutable.
type UserList struct {
	users map[string]userEntry
}

type userEntry struct {
	secret Secret
	line   int
}

// ParseUserList reads a file in the format of PgBouncer's auth_file: one user a
// line, name and secret each in double quotes, a double quote inside written
// twice, whatever follows ignored. Empty lines and those that begin with ";" are
// skipped. An empty secret makes a user who can log in by trust only.
//
// Where PgBouncer stops at the first fault and keeps what it has read, here all
// faults are reported, each with its line, and nothing is returned. A user may
// stand there twice with the same secret only. No fault shows a secret.
func ParseUserList(text []byte) (*UserList, error) {
	list := &UserList{users: make(map[string]userEntry)}
	var faults []error
	number := 0
	for line := range bytes.Lines(bytes.TrimPrefix(text, []byte("\ufeff"))) {
		number++
		if err := list.add(number, strings.TrimSpace(string(line))); err != nil {
			faults = append(faults, fmt.Errorf("line %d: %w", number, err))
		}
	}
	if len(faults) > 0 {
		return nil, errors.Join(faults...)
	}
	return list, nil
}

// Lookup returns the secret stored for user and whether the user exists.
func (l *UserList) Lookup(user string) (Secret, bool) {
	entry, ok := l.users[user]
	return entry.secret, ok
}

// Names are the users, in no order.
func (l *UserList) Names() []string { return slices.Collect(maps.Keys(l.users)) }

// Len returns the number of users.
func (l *UserList) Len() int { return len(l.users) }

// MD5Share is the share of the users with a secret whom method MD5 asks for an
// MD5 answer; 0 without users.
func (l *UserList) MD5Share() float64 {
	var scram, others int
	for _, entry := range l.users {
		switch entry.secret.kind {
		case SCRAMSecret:
			scram++
		case PlainSecret, MD5Secret:
			others++
		}
	}
	return float64(others) / float64(max(scram+others, 1))
}

func (l *UserList) add(number int, line string) error {
	if line == "" || line[0] == ';' {
		return nil
	}
	user, rest, err := cutQuoted(line)
	if err != nil {
		return fmt.Errorf("user name: %w", err)
	}
	if user == "" || strings.ContainsRune(user, 0) {
		return errors.New("user name: is empty or contains a zero byte")
	}
	trimmed := strings.TrimLeft(rest, " \t")
	if trimmed == rest {
		// Not with the name: of "alice""secret" the secret would be part of it.
		return errors.New("no blank and secret after the user name")
	}
	text, _, err := cutQuoted(trimmed)
	if err != nil {
		return fmt.Errorf("user %q: secret: %w", user, err)
	}
	secret, err := ParseSecret(text)
	if err != nil {
		return fmt.Errorf("user %q: %w", user, err)
	}
	if old, ok := l.users[user]; ok && !old.secret.equal(secret) {
		return fmt.Errorf("user %q: stands on line %d with another secret", user, old.line)
	}
	l.users[user] = userEntry{secret: secret, line: number}
	return nil
}

// cutQuoted takes a quoted value off the front of text.
func cutQuoted(text string) (value, rest string, err error) {
	if text == "" || text[0] != '"' {
		return "", "", errors.New("does not begin with a double quote")
	}
	var b strings.Builder
	for rest = text[1:]; ; rest = rest[1:] {
		part, after, ok := strings.Cut(rest, `"`)
		if !ok {
			return "", "", errors.New("has no closing double quote")
		}
		b.WriteString(part)
		rest = after
		if rest == "" || rest[0] != '"' {
			return b.String(), rest, nil
		}
		b.WriteByte('"')
	}
}
