// Package pgvip_test holds the whole module to its drawing.
package pgvip_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/pgvip/pgvip/"

// diagram says which of our packages each of our packages may import: the table
// of docs/architecture.md as data. Data, control and address meet in route.Table
// and in cmd/pgvip, nowhere else. A new package gets its row here first.
var diagram = map[string][]string{
	// Leaves: whoever reads one needs to know no other.
	"wire":    {},
	"route":   {},
	"stats":   {},
	"config":  {},
	"tlsconf": {},

	"auth":      {"wire"},
	"statement": {"wire"},
	"loop":      {"tlsconf"},
	"dial":      {"wire", "auth", "tlsconf"},

	"dcs":    {"route"},
	"health": {"route", "dial", "auth", "wire"},

	"pool":  {"loop", "statement", "dial", "wire", "auth", "route", "stats", "tlsconf"},
	"proxy": {"pool", "loop", "statement", "dial", "wire", "auth", "route", "stats", "tlsconf"},

	"console": {"wire", "stats"},
	"admin":   {"stats"},

	// The virtual IP. vrrp/keeper is a process of its own and knows no PostgreSQL.
	"vrrp/beat":      {},
	"vrrp/advert":    {},
	"vrrp/instance":  {"vrrp/advert"},
	"vrrp/owner":     {},
	"vrrp/track":     {},
	"vrrp/echo":      {},
	"vrrp/address":   {"vrrp/beat", "vrrp/advert"},
	"vrrp/arbiter":   {"vrrp/beat", "vrrp/owner", "tlsconf"},
	"vrrp/keeper":    {"vrrp/..."},
	"vrrp/supervise": {"vrrp/beat", "vrrp/track"},
	"cluster":        {"stats"},

	"internal/certs":    {"internal/freeport"},
	"internal/freeport": {},
	"internal/lab":      {"wire", "dial", "auth", "internal/certs"},
	"internal/corpus":   {"internal/lab", "wire"},
	"internal/pgscript": {"wire"},
	"internal/e2e":      {}, // it has only tests, and those drive the binary
	"tools":             {},

	"bench":                 {"wire", "dial", "auth", "internal/lab", "bench/..."},
	"bench/null":            {"wire"},
	"bench/load":            {"wire", "dial", "auth", "bench/null"},
	"bench/proc":            {},
	"bench/rival":           {"internal/lab", "internal/freeport", "bench/..."},
	"bench/cmd/pgvip-bench": {"bench", "bench/..."},

	"bench/failover":           {"internal/lab", "internal/certs", "bench/proc", "bench/load"},
	"bench/cmd/pgvip-failover": {"bench/failover"},

	"bench/vip":           {"internal/lab", "bench/proc", "bench/load"},
	"bench/cmd/pgvip-vip": {"bench/vip"},

	"migrate": {"config"},

	"cmd/pgvip": {"..."},
}

// testAlso is what the tests of every package may import besides.
var testAlso = []string{"internal/..."}

// homes are the modules that only some packages may import, tests apart: whoever
// changes one of them knows where to look, and the hot path stays free of them.
var homes = map[string][]string{
	"go.etcd.io/etcd":                {"dcs", "vrrp/arbiter", "internal/lab", "bench/rival", "bench/failover", "bench/vip"},
	"github.com/goccy/go-yaml":       {"config"},
	"github.com/spf13/cobra":         {"cmd/pgvip"},
	"github.com/jackc/pgx":           {"cmd/pgvip", "internal/...", "bench/..."},
	"github.com/lib/pq":              {"cmd/pgvip", "internal/...", "bench/..."},
	"github.com/pires/go-proxyproto": {"proxy"},
	"github.com/prometheus":          {"admin"},
	"github.com/hashicorp":           {"cluster"},
	"github.com/mdlayher":            {"vrrp/address", "bench/vip"},
	"github.com/vishvananda":         {"vrrp/address", "bench/vip"},
	"github.com/jackc/pgproto3/v2":   {"dial", "pool", "proxy", "internal/...", "bench/..."},
}

// use is one import of a package, from its code or from its tests.
type use struct {
	from, path string
	test       bool
}

func TestImportsFollowTheDiagram(t *testing.T) {
	uses := readImports(t)
	if len(uses) == 0 {
		t.Fatal("no imports found, so nothing was tested")
	}
	for _, v := range violations(uses) {
		t.Error(v)
	}
}

func TestEveryPackageIsInTheDiagram(t *testing.T) {
	packages := map[string]bool{}
	for _, u := range readImports(t) {
		packages[u.from] = true
	}
	for _, p := range slices.Sorted(maps.Keys(packages)) {
		if _, ok := diagram[p]; !ok {
			t.Errorf("package %s is not in the diagram", p)
		}
	}
}

func TestViolationsAreFound(t *testing.T) {
	tests := []struct {
		name string
		use  use
		bad  bool
	}{
		{"upwards", use{from: "wire", path: module + "proxy"}, true},
		{"across", use{from: "dcs", path: module + "health"}, true},
		{"along the arrow", use{from: "proxy", path: module + "pool"}, false},
		{"helper in code", use{from: "wire", path: module + "internal/pgscript"}, true},
		{"helper in a test", use{from: "wire", path: module + "internal/pgscript", test: true}, false},
		{"own package in its test", use{from: "wire", path: module + "wire", test: true}, false},
		{"everything from the recipe", use{from: "cmd/pgvip", path: module + "bench/null"}, false},
		{"below a wildcard", use{from: "bench", path: module + "bench/null"}, false},
		{"module far from home", use{from: "pool", path: "go.etcd.io/etcd/client/v3"}, true},
		{"module at home", use{from: "dcs", path: "go.etcd.io/etcd/client/v3"}, false},
		{"module in a test", use{from: "wire", path: "github.com/jackc/pgproto3/v2", test: true}, false},
		{"module of similar name", use{from: "pool", path: "github.com/lib/pqueue"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := violations([]use{tt.use}); (len(got) > 0) != tt.bad {
				t.Errorf("violations = %q, want some: %t", got, tt.bad)
			}
		})
	}
}

// violations gives a sentence for each import that the diagram does not have.
func violations(uses []use) []string {
	var found []string
	for _, u := range uses {
		switch ours, isOurs := strings.CutPrefix(u.path, module); {
		case isOurs:
			allowed := diagram[u.from]
			if u.test {
				allowed = slices.Concat(allowed, testAlso, []string{u.from})
			}
			if !matches(allowed, ours) {
				found = append(found, u.from+" imports "+ours+", which does not stand below it")
			}
		case !u.test:
			for name, packages := range homes {
				if inModule(u.path, name) && !matches(packages, u.from) {
					found = append(found, u.from+" imports "+u.path+", which only "+
						strings.Join(packages, ", ")+" may")
				}
			}
		}
	}
	return found
}

// matches reports whether a package is in a list, in which "a/..." stands for
// all below a, and "..." for all.
func matches(list []string, name string) bool {
	return slices.ContainsFunc(list, func(p string) bool {
		below, wild := strings.CutSuffix(p, "...")
		return p == name || (wild && strings.HasPrefix(name, below))
	})
}

func inModule(importPath, name string) bool {
	return importPath == name || strings.HasPrefix(importPath, name+"/")
}

// readImports reads the imports of every Go file, whatever system it is for.
func readImports(t *testing.T) []use {
	t.Helper()
	var uses []use
	err := fs.WalkDir(os.DirFS("."), ".", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && file != "." && (strings.HasPrefix(name, ".") || name == "testdata" || name == "bin") {
			return fs.SkipDir
		}
		dir := path.Dir(file)
		if d.IsDir() || !strings.HasSuffix(name, ".go") || dir == "." {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), filepath.FromSlash(file), nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range parsed.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			uses = append(uses, use{from: dir, path: imported, test: strings.HasSuffix(name, "_test.go")})
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return uses
}
