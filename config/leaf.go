package config

import (
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// leaf is a plain key seen from the top, whatever section it stands in.
type leaf[S any] struct {
	path    string
	restart bool
	secret  bool
	form    form

	show func(of *S) string // as SHOW CONFIG prints it
	// carry copies the value of one struct into another and reports whether the
	// other had a different one.
	carry func(from, into *S) bool
	fill  func(r *reader, into *S, v value)
}

// fieldOf gives a plain key the leaf for the field at.
func fieldOf[S, T any](s setting[S], at func(*S) *T) setting[S] {
	form := formOf[T](s.name)
	s.leaves = func() []leaf[S] {
		_, isSecret := any(*new(T)).(Secret)
		return []leaf[S]{{
			path: s.name, secret: isSecret, form: form, fill: s.fill,
			show: func(of *S) string { return plain(*at(of), form.unit) },
			carry: func(from, into *S) bool {
				changed := !reflect.DeepEqual(*at(from), *at(into))
				*at(into) = *at(from)
				return changed
			},
		}}
	}
	return s
}

// table is a named section that fills a map, which a reload compares as a whole.
func table[S, T any](name string, keys []setting[T], at func(*S) *map[string]T) setting[S] {
	s := named(name, keys, func(into *S, name string, t T) {
		if *at(into) == nil {
			*at(into) = map[string]T{}
		}
		(*at(into))[name] = t
	})
	s.leaves = func() []leaf[S] {
		return []leaf[S]{{
			path: name, fill: s.fill,
			show: func(of *S) string { return strings.Join(slices.Sorted(maps.Keys(*at(of))), ", ") },
			carry: func(from, into *S) bool {
				changed := !reflect.DeepEqual(*at(from), *at(into))
				*at(into) = *at(from)
				return changed
			},
		}}
	}
	return s
}

// leavesOf lists the plain keys of a table, those of its sections included.
func leavesOf[S any](table []setting[S]) []leaf[S] {
	var all []leaf[S]
	for _, s := range table {
		if s.leaves == nil {
			continue
		}
		for _, l := range s.leaves() {
			l.restart = l.restart || s.restart
			all = append(all, l)
		}
	}
	return all
}

// lift makes the leaf of a section one of the struct around it.
func lift[S, T any](section string, l leaf[T], at func(*S) *T) leaf[S] {
	return leaf[S]{
		path: join(section, l.path), restart: l.restart, secret: l.secret, form: l.form,
		show:  func(of *S) string { return l.show(at(of)) },
		carry: func(from, into *S) bool { return l.carry(at(from), at(into)) },
		fill:  func(r *reader, into *S, v value) { l.fill(r, at(into), v) },
	}
}

// plain gives a value in PgBouncer's form: truth as 0 and 1, durations as bare
// numbers, lists with commas.
func plain(v any, unit time.Duration) string {
	switch v := v.(type) {
	case bool:
		if v {
			return "1"
		}
		return "0"
	case time.Duration:
		// As %g of C does, six digits and no zeros behind the point.
		return strconv.FormatFloat(float64(v)/float64(unit), 'g', 6, 64)
	case fs.FileMode:
		return fmt.Sprintf("%04o", uint32(v))
	case []string:
		return strings.Join(v, ", ")
	case []Address:
		return joinAll(v, listenText)
	case Address:
		if v == (Address{}) {
			return ""
		}
		return v.String()
	case []netip.Prefix:
		return joinAll(v, netip.Prefix.String)
	case []netip.Addr:
		return joinAll(v, netip.Addr.String)
	case []netip.AddrPort:
		return joinAll(v, netip.AddrPort.String)
	case netip.Addr:
		if !v.IsValid() {
			return ""
		}
		return v.String()
	case CheckQuery:
		if v.Enabled && v.SQL == "" {
			return "<empty>"
		}
		return v.SQL
	default:
		return fmt.Sprint(v)
	}
}

// listenText gives an address as the file has it.
func listenText(a Address) string {
	if a.Host == "" {
		return "*" + a.String()
	}
	return a.String()
}

func joinAll[T any](all []T, text func(T) string) string {
	texts := make([]string, len(all))
	for i, t := range all {
		texts[i] = text(t)
	}
	return strings.Join(texts, ", ")
}
