package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/config"
)

// TestEverySettingIsUsed: a key that is accepted and changes nothing would be a
// lie. What this package does not look at reaches no other.
func TestEverySettingIsUsed(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	selected := map[string]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok {
				selected[s.Sel.Name] = true
			}
			return true
		})
	}
	for _, root := range []any{config.Config{}, config.Rules{}} {
		for _, name := range settings(reflect.TypeOf(root)) {
			if !selected[name] {
				t.Errorf("nobody looks at %s of the configuration", name)
			}
		}
	}
}

// settings are the names of the fields that hold values, sections included.
func settings(in reflect.Type) []string {
	var names []string
	for i := range in.NumField() {
		f := in.Field(i)
		if _, value := reflect.Zero(f.Type).Interface().(interface{ String() string }); f.Type.Kind() == reflect.Struct && !value {
			names = append(names, settings(f.Type)...)
		} else {
			names = append(names, f.Name)
		}
	}
	return names
}
