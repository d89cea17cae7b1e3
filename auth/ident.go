package auth

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// IdentMaps are the user name maps of a parsed auth_ident_file. They are
// immutable.
type IdentMaps struct {
	maps map[string]*IdentMap
}

// IdentMap says which database users a user of another system may be: the name
// in a certificate, or the owner of the process at the other end of a Unix
// socket. The nil map is the one for everybody without a map: same name, same
// user.
type IdentMap struct {
	entries []identEntry
}

// identEntry is one line. Its user is one of: everybody, a pattern, a name, or a
// name with \1 in it.
type identEntry struct {
	system        string
	systemPattern *regexp.Regexp // instead of system

	user        string
	userPattern *regexp.Regexp
	everybody   bool
}

// groupOne in a database user stands for what the first group of the system
// user's pattern has matched.
const groupOne = `\1`

// ParseIdent reads a file in the format of PostgreSQL's pg_ident.conf: map name,
// system user, database user. A system user that begins with "/" is a regular
// expression, whose first group the database user may take over by \1; a
// database user may be "all" or, too, an expression.
//
// The syntax of the expressions is Go's, which has no back-references and no
// look-around. All faults are reported, each with its line.
func ParseIdent(text []byte) (*IdentMaps, error) {
	all := &IdentMaps{maps: make(map[string]*IdentMap)}
	err := eachLine(text, func(_ int, words []word) error { return all.add(words) })
	if err != nil {
		return nil, err
	}
	return all, nil
}

// Lookup returns the map of that name.
func (m *IdentMaps) Lookup(name string) (*IdentMap, bool) {
	if m == nil {
		return nil, false
	}
	found, ok := m.maps[name]
	return found, ok
}

func (m *IdentMaps) add(words []word) error {
	if strings.HasPrefix(words[0].text, "include") && len(words) == 2 {
		return fmt.Errorf("%s: other files cannot be included", words[0].text)
	}
	for _, w := range words {
		if w.comma {
			return errors.New("has a comma: each line maps one name")
		}
	}
	if len(words) != 3 {
		return fmt.Errorf("has %d words, must have 3: map, system user, database user", len(words))
	}
	e, err := newIdentEntry(words[1], words[2])
	if err != nil {
		return err
	}
	name := words[0].text
	if m.maps[name] == nil {
		m.maps[name] = &IdentMap{}
	}
	m.maps[name].entries = append(m.maps[name].entries, e)
	return nil
}

func newIdentEntry(system, user word) (e identEntry, err error) {
	e.system, e.user = system.text, user.text
	if system.text == "" || user.text == "" {
		return e, errors.New("has an empty name")
	}
	if pattern, ok := strings.CutPrefix(system.text, "/"); ok {
		if e.systemPattern, err = regexp.Compile(pattern); err != nil {
			return e, fmt.Errorf("system user: %w", err)
		}
	}
	pattern, isPattern := strings.CutPrefix(user.text, "/")
	switch {
	case isPattern:
		if e.userPattern, err = regexp.Compile(pattern); err != nil {
			return e, fmt.Errorf("database user: %w", err)
		}
	case user.is("all"):
		e.everybody = true
	case !user.quoted && user.text[0] == '+':
		return e, fmt.Errorf("database user: %s: pgvip does not know who is a member of a role", user.text)
	case strings.Contains(user.text, groupOne) && e.systemPattern != nil && e.systemPattern.NumSubexp() == 0:
		return e, fmt.Errorf("database user: has %s, and the system user's expression has no group", groupOne)
	}
	return e, nil
}

// Allows reports whether the system user may log in as the database user.
func (m *IdentMap) Allows(system, user string) bool {
	if system == "" {
		return false
	}
	if m == nil {
		return system == user
	}
	for _, e := range m.entries {
		if e.allows(system, user) {
			return true
		}
	}
	return false
}

func (e *identEntry) allows(system, user string) bool {
	want := e.user
	if e.systemPattern == nil {
		if system != e.system {
			return false
		}
	} else {
		groups := e.systemPattern.FindStringSubmatchIndex(system)
		if groups == nil {
			return false
		}
		if e.userPattern == nil && !e.everybody && strings.Contains(want, groupOne) {
			if groups[2] < 0 {
				return false // the group took no part: there is nothing to take over
			}
			// The first only, as PostgreSQL does.
			want = strings.Replace(want, groupOne, system[groups[2]:groups[3]], 1)
		}
	}
	switch {
	case e.everybody:
		return true
	case e.userPattern != nil:
		return e.userPattern.MatchString(user)
	}
	return want == user
}
