package config

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrUnknown says that a key is not one of the file's.
var ErrUnknown = errors.New("is not a known key")

// Paths lists every key in the order of the reference file, with "*" for the name
// of a database or a user.
func Paths() []string {
	var all []string
	for _, d := range describe(topKeys(), "") {
		all = append(all, d.path)
	}
	return all
}

// Explain says why a key of PgBouncer, named as Paths does, is none of pgvip's.
func Explain(path string) (string, bool) { return foreign(path) }

// FromPgBouncer gives the value of a key as the file has it, with a unit for
// instance, from PgBouncer's form. The error is ErrUnknown, or the rest of a
// sentence about what pgvip does not take.
func FromPgBouncer(path, text string) (string, error) {
	switch group, name, _ := strings.Cut(path, ".*."); group {
	case "databases":
		return fromPlain(leavesOf(databaseKeys()), new(Database), name, text)
	case "users":
		return fromPlain(leavesOf(userKeys()), new(User), name, text)
	default:
		return fromPlain(leavesOf(topKeys()), new(Config), path, text)
	}
}

func fromPlain[S any](leaves []leaf[S], into *S, path, text string) (string, error) {
	for _, l := range leaves {
		if l.path != path {
			continue
		}
		text, err := l.form.fromPlain(text)
		if err != nil {
			return "", err
		}
		r := &reader{seen: map[string]position{}}
		l.fill(r, into, value{kind: kindScalar, path: path, at: start, text: text})
		if len(r.faults) > 0 {
			return "", errors.New(r.faults[0].Text)
		}
		return text, nil
	}
	return "", ErrUnknown
}

// form is what PgBouncer's form of a value differs in from the file's.
type form struct {
	unit time.Duration // that plain numbers count; 0 for what is no duration
	flag bool
}

// formOf gives the form of a key's values.
func formOf[T any](name string) form {
	switch any(*new(T)).(type) {
	case bool:
		return form{flag: true}
	case time.Duration, Optional[time.Duration]:
		if name == "tcp_user_timeout" {
			return form{unit: time.Millisecond}
		}
		return form{unit: time.Second}
	}
	return form{}
}

// fromPlain takes either form of a value and gives that of the file.
func (f form) fromPlain(text string) (string, error) {
	switch {
	case f.unit > 0 && bareNumber.MatchString(text):
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || n > float64(longest)/float64(f.unit) {
			return "", fmt.Errorf("must be at most %s, is %s", short(longest), text)
		}
		return short(time.Duration(n * float64(f.unit))), nil
	case f.flag:
		on, err := flag(text)
		if err != nil {
			return text, nil // the key's own words say it better
		}
		return strconv.FormatBool(on), nil
	}
	return text, nil
}
