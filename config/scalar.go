package config

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Parsers of scalars. Each returns a function from the text in the file to its
// value; the error is the rest of a sentence that begins with the key's path.

// anyText takes every text.
func anyText(text string) (string, error) { return text, nil }

// filledText takes every text but the empty one.
func filledText(text string) (string, error) {
	if strings.TrimSpace(text) == "" {
		return "", errors.New("must not be empty")
	}
	return text, nil
}

// flag reads a truth value. PgBouncer's 0 and 1 are taken too, since its files
// are where most values are copied from.
func flag(text string) (bool, error) {
	switch strings.ToLower(text) {
	case "true", "yes", "on", "1":
		return true, nil
	case "false", "no", "off", "0":
		return false, nil
	}
	return false, fmt.Errorf("must be true or false, is %q", text)
}

// count reads a whole number within bounds.
func count(least, most int) func(string) (int, error) {
	return func(text string) (int, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		switch {
		case err != nil && !errors.Is(err, strconv.ErrRange):
			return 0, fmt.Errorf("must be a whole number, is %q", text)
		// Out of range of an int64, n is the end of that range.
		case n < int64(least):
			return 0, fmt.Errorf("must be at least %d, is %s", least, text)
		case n > int64(most):
			return 0, fmt.Errorf("must be at most %d, is %s", most, text)
		}
		return int(n), nil
	}
}

// longest is the largest duration that a key takes: far beyond all sense, and
// far from the overflow of a sum of two.
const longest = 10 * 365 * 24 * time.Hour

// bareNumber matches what looks like a duration whose unit was forgotten.
var bareNumber = regexp.MustCompile(`^[0-9]+(\.[0-9]+)?$`)

// span reads a duration that is at least least and a whole number of them: least
// is also the resolution of whatever counts the time.
func span(least time.Duration) func(string) (time.Duration, error) {
	return func(text string) (time.Duration, error) {
		if bareNumber.MatchString(text) {
			// PgBouncer's plain numbers are seconds.
			return 0, fmt.Errorf(`must have a unit, is %s: write "%ss" or "%sms"`, text, text, text)
		}
		d, err := time.ParseDuration(text)
		switch {
		case err != nil:
			return 0, fmt.Errorf(`must be a duration like "250ms", "15s" or "1h30m", is %q`, text)
		case d < least:
			return 0, fmt.Errorf("must be at least %s, is %s", short(least), text)
		case d > longest:
			return 0, fmt.Errorf("must be at most %s, is %s", short(longest), text)
		case d%least != 0:
			return 0, fmt.Errorf("must be a multiple of %s, is %s", short(least), text)
		}
		return d, nil
	}
}

// spanOrZero is span for a key to which 0, with or without a unit, has a meaning
// of its own.
func spanOrZero(least time.Duration) func(string) (time.Duration, error) {
	parse := span(least)
	return func(text string) (time.Duration, error) {
		if d, err := time.ParseDuration(text); err == nil && d == 0 {
			return 0, nil
		}
		return parse(text)
	}
}

// short prints a duration without the zeros that String appends: 1m, not 1m0s.
func short(d time.Duration) string {
	text := d.String()
	if d%time.Minute == 0 && d != 0 {
		text = strings.TrimSuffix(text, "0s")
	}
	if d%time.Hour == 0 && d != 0 {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// oneOf reads one of some words.
func oneOf(words ...string) func(string) (string, error) {
	return func(text string) (string, error) {
		if !slices.Contains(words, text) {
			return "", fmt.Errorf("must be %s, is %q", orList(words), text)
		}
		return text, nil
	}
}

// orList joins words as a sentence does: "a, b or c".
func orList(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// authType reads auth_type. "password" is pg_hba.conf's word for PgBouncer's "plain".
func authType(text string) (AuthType, error) {
	switch text {
	case "password":
		return AuthPlain, nil
	case "ldap", "pam":
		return 0, fmt.Errorf("is %s, which pgvip does not do: a login would wait for a service outside"+
			" PostgreSQL; use scram-sha-256", text)
	}
	return enum(AuthTrust, AuthHBA)(text)
}

// poolMode reads pool_mode.
func poolMode(text string) (PoolMode, error) { return enum(PoolSession, PoolStatement)(text) }

// sessionState reads session_state.
func sessionState(text string) (SessionState, error) { return enum(StateReset, StateRefuse)(text) }

// enum reads the name of one of the values from first to last.
func enum[T interface {
	~uint8
	String() string
}](first, last T) func(string) (T, error) {
	return func(text string) (T, error) {
		var names []string
		for v := first; v <= last; v++ {
			if v.String() == text {
				return v, nil
			}
			names = append(names, v.String())
		}
		return 0, fmt.Errorf("must be %s, is %q", orList(names), text)
	}
}

// checkQuery reads server_check_query: "" is no check, "<empty>" the empty query.
func checkQuery(text string) (CheckQuery, error) {
	switch text {
	case "":
		return CheckQuery{}, nil
	case "<empty>":
		return CheckQuery{Enabled: true}, nil
	}
	return CheckQuery{Enabled: true, SQL: text}, nil
}
