package config

import (
	"errors"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// position is a place in the file, counted from 1.
type position struct{ line, column int }

// start is where faults of the whole file are reported.
var start = position{1, 1}

// kind is what a value in the file is. YAML's scalar types are not told apart:
// the key decides how its text is read, so that `dbname: 5000` is a name and
// `password: 007` keeps its zeros.
type kind uint8

const (
	kindNull kind = iota
	kindScalar
	kindList
	kindMapping
	// kindBad has been reported already; its key is left alone.
	kindBad
)

// String gives the kind as a fault names it.
func (k kind) String() string {
	switch k {
	case kindNull:
		return "empty"
	case kindScalar:
		return "a single value"
	case kindList:
		return "a list"
	case kindMapping:
		return "a section of keys"
	case kindBad:
		return "not readable"
	default:
		panic("BUG: kind out of range")
	}
}

// value is one node of the file, freed of the YAML library's types.
type value struct {
	kind kind
	path string // keys from the top, joined by dots
	at   position

	text    string  // of a scalar, quotes and escapes resolved
	list    []value // of a list
	entries []entry // of a mapping, in the order of the file
}

// entry is one key of a mapping.
type entry struct {
	name  string
	at    position
	value value
}

// tree parses data into the value of its only document. When it cannot, it
// reports the fault and returns false.
func (r *reader) tree(data []byte) (value, bool) {
	empty := value{kind: kindMapping, at: start}
	if len(data) > maxFileBytes {
		r.fault(start, "", "is larger than %d bytes", maxFileBytes)
		return empty, false
	}
	// Doubled keys are found by our own reader: the library stops at the first.
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntaxFault(err)
		return empty, false
	}
	docs := file.Docs
	if len(docs) > 1 {
		r.fault(place(docs[1]), "", "has a second YAML document, must be one")
		return empty, false
	}
	if len(docs) == 0 || docs[0].Body == nil {
		return empty, true
	}
	root := r.value("", docs[0].Body)
	if root.kind == kindNull {
		return empty, true
	}
	if root.kind == kindBad {
		return empty, false
	}
	if root.kind != kindMapping {
		r.fault(root.at, "", "must be a section of keys, is %s", root.kind)
		return empty, false
	}
	return root, true
}

func (r *reader) syntaxFault(err error) {
	at, text := start, err.Error()
	var y yaml.Error
	if errors.As(err, &y) {
		text = y.GetMessage()
		at = tokenPlace(y.GetToken())
	}
	// The library may add the source around the fault; one line is the contract.
	text, _, _ = strings.Cut(text, "\n")
	r.fault(at, "", "is not YAML: %s", text)
}

// value converts one node. What the file may not hold is reported and becomes
// kindBad.
func (r *reader) value(path string, node ast.Node) value {
	v := value{path: path, at: place(node)}
	switch n := node.(type) {
	case *ast.NullNode:
	case *ast.StringNode:
		v.kind, v.text = kindScalar, n.Value
	case *ast.LiteralNode:
		v.kind, v.text = kindScalar, n.Value.Value
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		v.kind, v.text = kindScalar, n.GetToken().Value
	case *ast.SequenceNode:
		v.kind = kindList
		for _, item := range n.Values {
			v.list = append(v.list, r.value(path, item))
		}
	case *ast.MappingNode:
		v.kind = kindMapping
		for _, e := range n.Values {
			v.entries = r.entry(v.entries, path, e)
		}
	case *ast.MappingValueNode:
		v.kind = kindMapping
		v.entries = r.entry(nil, path, n)
	default:
		// An anchor here and an alias there would make the printed line of a
		// fault a matter of opinion, and tags have nothing to say.
		v.kind = kindBad
		r.fault(v.at, path, "uses a YAML %s, write the value itself", strings.ToLower(node.Type().String()))
	}
	return v
}

func (r *reader) entry(entries []entry, path string, node *ast.MappingValueNode) []entry {
	at := place(node.Key)
	if _, plain := node.Key.(ast.ScalarNode); !plain || node.Key.IsMergeKey() {
		r.fault(at, path, "has a key that is not plain text")
		return entries
	}
	name := node.Key.GetToken().Value
	v := r.value(join(path, name), node.Value)
	if v.kind == kindNull {
		// A null's own token is that of whatever follows it.
		v.at = at
	}
	return append(entries, entry{name: name, at: at, value: v})
}

// join appends a key to a path. A name with a dot in it, as a database may have,
// is quoted, or it would be taken for two keys.
func join(path, name string) string {
	if strings.ContainsAny(name, ".\" \t\r\n") {
		name = strconv.Quote(name)
	}
	if path == "" {
		return name
	}
	return path + "." + name
}

func place(node ast.Node) position {
	if node == nil {
		return start
	}
	switch n := node.(type) {
	case *ast.MappingNode:
		// Its own token is the colon of the first entry.
		if len(n.Values) > 0 && !n.IsFlowStyle {
			return place(n.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(n.Key)
	case *ast.DocumentNode:
		return place(n.Body)
	}
	return tokenPlace(node.GetToken())
}

func tokenPlace(t *token.Token) position {
	if t == nil || t.Position == nil {
		return start
	}
	return position{max(t.Position.Line, 1), max(t.Position.Column, 1)}
}
