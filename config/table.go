package config

import (
	"fmt"
	"slices"
)

// reader collects the faults of one file. It lives for one Parse.
type reader struct {
	file     string
	env      func(string) (string, bool)
	readFile func(string) ([]byte, error)

	faults Faults
	// seen is where each key of the file stands, by path.
	seen map[string]position
}

// fault notes one. The format never gets a secret as an argument.
func (r *reader) fault(at position, path, format string, args ...any) {
	r.faults = append(r.faults, Fault{
		File: r.file, Line: at.line, Column: at.column,
		Path: path, Text: fmt.Sprintf(format, args...),
	})
}

// setting is one key of a section that fills a struct of type S.
type setting[S any] struct {
	name string
	// def is the default as it would stand in the file, "" without one.
	def string
	// required is a fault when the key is absent.
	required bool
	// fill reads v into the struct and reports its faults.
	fill func(r *reader, into *S, v value)

	// reset sets the defaults of a section; nil for every other key.
	reset func(into *S)
	// inner gives the keys of a section, by the path below it, for the tests
	// that hold documents to this table. It is nil for a plain key.
	inner func() []described

	// leaves gives the plain keys with what can be done to each while pgvip runs:
	// the key itself, or those of a section. It is nil for databases and users.
	leaves func() []leaf[S]
	// restart keeps the value that pgvip has started with.
	restart bool
}

// described is what documents must say about a key.
type described struct {
	path, def string
	required  bool
}

// describe lists the keys of a table, those of sections included, each below
// the prefix, which is "" or ends in a dot.
func describe[S any](table []setting[S], prefix string) []described {
	var all []described
	for _, s := range table {
		if s.inner == nil {
			all = append(all, described{prefix + s.name, s.def, s.required})
			continue
		}
		for _, d := range s.inner() {
			d.path = prefix + s.name + "." + d.path
			all = append(all, d)
		}
	}
	return all
}

// key is a plain key: parse reads the text of a scalar into the field at.
func key[S, T any](name, def string, parse func(string) (T, error), at func(*S) *T) setting[S] {
	return fieldOf(setting[S]{name: name, def: def, fill: func(r *reader, into *S, v value) {
		if v.kind != kindScalar {
			r.fault(v.at, v.path, "must be %s, is %s", kindScalar, v.kind)
			return
		}
		t, err := parse(v.text)
		if err != nil {
			r.fault(v.at, v.path, "%s", err)
			return
		}
		*at(into) = t
	}}, at)
}

// override is a key of a database or a user that replaces a setting of the top.
func override[S, T any](name string, parse func(string) (T, error), at func(*S) *Optional[T]) setting[S] {
	some := func(text string) (Optional[T], error) {
		t, err := parse(text)
		return Some(t), err
	}
	return key(name, "", some, at)
}

// file is a key that names a file, relative to the folder of the configuration
// so that the place pgvip is started from does not matter.
func file[S any](name string, at func(*S) *string) setting[S] {
	s := key(name, "", anyText, at)
	fill := s.fill
	s.fill = func(r *reader, into *S, v value) {
		fill(r, into, v)
		*at(into) = r.resolve(*at(into))
	}
	return fieldOf(s, at)
}

// must marks a key as required.
func must[S any](s setting[S]) setting[S] {
	s.required = true
	return s
}

// atStart marks a key, or a whole section, whose change needs a restart.
func atStart[S any](s setting[S]) setting[S] {
	s.restart = true
	return s
}

// section is a key whose value is a mapping with keys of its own. Its inner
// defaults are filled even when it is absent.
func section[S, T any](name string, table []setting[T], at func(*S) *T) setting[S] {
	return setting[S]{
		name:  name,
		reset: func(into *S) { fillDefaults(table, at(into)) },
		inner: func() []described { return describe(table, "") },
		leaves: func() []leaf[S] {
			var all []leaf[S]
			for _, l := range leavesOf(table) {
				all = append(all, lift(name, l, at))
			}
			return all
		},
		fill: func(r *reader, into *S, v value) {
			if v.kind != kindMapping {
				r.fault(v.at, v.path, "must be %s, is %s", kindMapping, v.kind)
				return
			}
			read(r, table, at(into), v)
		},
	}
}

// named is a key whose value maps names of the user's choice to sections, each
// of which is stored with put.
func named[S, T any](name string, table []setting[T], put func(into *S, name string, t T)) setting[S] {
	return setting[S]{
		name:  name,
		inner: func() []described { return describe(table, "*.") },
		fill: func(r *reader, into *S, v value) {
			if v.kind != kindMapping {
				r.fault(v.at, v.path, "must be %s, is %s", kindMapping, v.kind)
				return
			}
			for _, e := range r.index(v) {
				var t T
				fillDefaults(table, &t)
				switch e.value.kind {
				case kindNull, kindBad: // `app:` with nothing below is a plain mention.
				case kindMapping:
					read(r, table, &t, e.value)
				default:
					r.fault(e.value.at, e.value.path, "must be %s, is %s", kindMapping, e.value.kind)
				}
				put(into, e.name, t)
			}
		},
	}
}

// read fills a struct from a mapping. Keys are taken in the order of the table,
// not of the file, so that overrides come after what they override.
func read[S any](r *reader, table []setting[S], into *S, v value) {
	given := map[string]entry{}
	for _, e := range r.index(v) {
		given[e.name] = e
		if !slices.ContainsFunc(table, func(s setting[S]) bool { return s.name == e.name }) {
			r.unknown(e)
		}
	}
	for _, s := range table {
		e, ok := given[s.name]
		switch {
		case ok && e.value.kind == kindBad:
		case ok && e.value.kind == kindNull:
			r.fault(e.at, e.value.path, "has no value")
		case ok:
			s.fill(r, into, e.value)
		case s.required:
			r.fault(v.at, join(v.path, s.name), "is required")
		case s.reset != nil:
			// An absent section may still lack what it requires.
			s.fill(r, into, value{kind: kindMapping, path: join(v.path, s.name), at: v.at})
		}
	}
}

// index notes where the keys of a mapping stand and drops doubled ones.
func (r *reader) index(v value) []entry {
	var once []entry
	for _, e := range v.entries {
		path := e.value.path
		if first, twice := r.seen[path]; twice {
			r.fault(e.at, path, "is given twice, first on line %d", first.line)
			continue
		}
		r.seen[path] = e.at
		once = append(once, e)
	}
	return once
}

// fillDefaults sets every field of a struct to the default of its key.
func fillDefaults[S any](table []setting[S], into *S) {
	r := &reader{file: "default", seen: map[string]position{}}
	for _, s := range table {
		switch {
		case s.reset != nil:
			s.reset(into)
		case s.def != "":
			s.fill(r, into, value{kind: kindScalar, path: s.name, at: start, text: s.def})
		}
	}
	if len(r.faults) > 0 {
		panic("BUG: " + r.faults.Error())
	}
}
