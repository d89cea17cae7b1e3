package config

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Entry is one setting as SHOW CONFIG has it: in PgBouncer's form, in which
// durations are plain numbers and truth is 0 or 1.
type Entry struct {
	Key        string
	Value      string // "***" for a secret that is set
	Default    string
	Changeable bool // by SET, or in the file with RELOAD
}

// Entries lists the settings of c in the order of their keys. Those of single
// databases and users are not among them.
func Entries(c *Config) []Entry {
	var all []Entry
	def := Default()
	for _, l := range leavesOf(topKeys()) {
		all = append(all, Entry{Key: l.path, Value: l.show(c), Default: l.show(def), Changeable: !l.restart})
	}
	slices.SortFunc(all, func(a, b Entry) int { return cmp.Compare(a.Key, b.Key) })
	return all
}

// Set gives a copy of c in which key has another value, written as in the file or
// as PgBouncer does. The error is one sentence for whoever typed SET.
func Set(c *Config, key, text string) (*Config, error) {
	leaves := leavesOf(topKeys())
	i := slices.IndexFunc(leaves, func(l leaf[Config]) bool { return l.path == key })
	if i < 0 {
		return nil, unknownKey(key)
	}
	l := leaves[i]
	switch {
	case l.restart:
		return nil, fmt.Errorf("%s: cannot be changed while pgvip runs", key)
	case l.secret:
		return nil, inFile(key)
	}
	text, err := l.form.fromPlain(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	changed := *c // fields are replaced and not written through, so the maps may be shared
	r := &reader{file: c.File, seen: map[string]position{}}
	l.fill(r, &changed, value{kind: kindScalar, path: key, at: start, text: text})
	if len(r.faults) == 0 {
		r.check(&changed)
	}
	if len(r.faults) > 0 {
		return nil, errors.New(r.faults[0].Path + ": " + r.faults[0].Text)
	}
	return &changed, nil
}

// inFile is the error for what is no key of SET's.
func inFile(key string) error { return fmt.Errorf("%s: is changed in the file, with RELOAD", key) }

// unknownKey is the error for a key that SET cannot find.
func unknownKey(key string) error {
	if slices.Contains(knownPaths(), key) || sameSection("databases.*", key) || sameSection("users.*", key) {
		return inFile(key)
	}
	if text, ok := foreign(key); ok {
		return errors.New(key + ": " + text)
	}
	if near := nearest(key); near != "" {
		return fmt.Errorf("%s: is not a known key, did you mean %s?", key, near)
	}
	return fmt.Errorf("%s: is not a known key", key)
}

// Kept is a setting whose change in the file had no effect.
type Kept struct {
	Key           string
	Running, File string // values, in PgBouncer's form
}

// KeepRunning puts into next, which replaces running, what pgvip cannot change
// without a restart, and lists what next had otherwise.
func KeepRunning(running, next *Config) []Kept {
	var kept []Kept
	for _, l := range leavesOf(topKeys()) {
		if !l.restart {
			continue
		}
		k := Kept{l.path, l.show(running), l.show(next)}
		if l.carry(running, next) {
			kept = append(kept, k)
		}
	}
	// The keys of the virtual IP fit each other only as a whole, and so do peers and
	// the keys that they are known by.
	if slices.ContainsFunc(kept, func(k Kept) bool { return strings.HasPrefix(k.Key, "cluster.") }) {
		next.Cluster = running.Cluster
	}
	if slices.ContainsFunc(kept, func(k Kept) bool { return strings.HasPrefix(k.Key, "vip.") }) {
		next.VIP = running.VIP
	}
	return kept
}

// Changed lists the keys whose values differ between two configurations, in the
// order of the file; a database or a user counts as one.
func Changed(old, now *Config) []string {
	var keys []string
	for _, l := range leavesOf(topKeys()) {
		other := *now
		if l.carry(old, &other) {
			keys = append(keys, l.path)
		}
	}
	return slices.Concat(keys, changedNames("databases", old.Databases, now.Databases),
		changedNames("users", old.Users, now.Users))
}

// changedNames lists the entries of a section that were added, changed or removed.
func changedNames[T any](section string, old, now map[string]T) []string {
	var keys []string
	for name, t := range now {
		if before, ok := old[name]; !ok || !reflect.DeepEqual(before, t) {
			keys = append(keys, join(section, name))
		}
	}
	for name := range old {
		if _, ok := now[name]; !ok {
			keys = append(keys, join(section, name))
		}
	}
	slices.Sort(keys)
	return keys
}
