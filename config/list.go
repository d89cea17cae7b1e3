package config

import "strings"

// list is a key that takes several values: a YAML list, or one text with commas
// as Patroni and PgBouncer write it. A text of nothing is an empty list.
func list[S, T any](name, def string, parse func(string) (T, error), at func(*S) *[]T) setting[S] {
	return fieldOf(setting[S]{name: name, def: def, fill: func(r *reader, into *S, v value) {
		var all []T
		for _, item := range r.items(v) {
			t, err := parse(item.text)
			if err != nil {
				r.fault(item.at, v.path, "%s", err)
				continue
			}
			all = append(all, t)
		}
		*at(into) = all
	}}, at)
}

// items gives the scalars of a list, each with its place.
func (r *reader) items(v value) []value {
	switch v.kind {
	case kindList:
		var items []value
		for _, item := range v.list {
			if item.kind == kindBad {
				continue
			}
			if item.kind != kindScalar {
				r.fault(item.at, v.path, "must hold plain values, holds one that is %s", item.kind)
				continue
			}
			items = append(items, item)
		}
		return items
	case kindScalar:
		if strings.TrimSpace(v.text) == "" {
			return nil
		}
		var items []value
		for part := range strings.SplitSeq(v.text, ",") {
			items = append(items, value{kind: kindScalar, path: v.path, at: v.at, text: strings.TrimSpace(part)})
		}
		return items
	default:
		r.fault(v.at, v.path, "must be a list, is %s", v.kind)
		return nil
	}
}
