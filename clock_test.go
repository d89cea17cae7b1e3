package pgvip_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wallClock says which files may ask what time it is on the wall, and what for:
// none of it bounds a wait, so a clock that is set forward or back ends nobody's
// session and holds nobody up.
var wallClock = map[string]string{
	"admin/metrics.go":              "shows when pgvip started",
	"bench/failover/credentials.go": "the name of a folder",
	"bench/failover/judge.go":       "compares with the clock of another program's log",
	"bench/vip/observer.go":         "the kernel's time stamps of packets",
	"console/server.go":             "shows when the last request came",
	"console/session.go":            "the same; and a deadline long ago, which ends a read",
	"dial/config.go":                "a deadline long ago, which ends a read",
	"health/question.go":            "shows when a standby last replayed something",
	"internal/certs/certs.go":       "a serial number",
	"internal/corpus/player.go":     "a deadline long ago, which ends a read",
	"proxy/login.go":                "a deadline long ago, which ends a read",
	"proxy/proxyproto.go":           "a deadline long ago, which ends a read",
}

// stripping are the calls that make or leave a time without its monotonic reading.
// So does Round; of a Duration it is allowed, which nobody rounds to 0.
var stripping = []string{"Unix", "UnixMilli", "UnixMicro", "UnixNano", "ParseInLocation"}

// TestNoDeadlineByTheWallClock: times are compared with their monotonic reading.
func TestNoDeadlineByTheWallClock(t *testing.T) {
	seen := make(map[string]bool)
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			sel, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			if slices.Contains(stripping, sel.Sel.Name) || sel.Sel.Name == "Round" && zero(call) {
				seen[path] = true
				if wallClock[path] == "" {
					t.Errorf("%s calls %s", path, sel.Sel.Name)
				}
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for path := range wallClock {
		if !seen[path] {
			t.Errorf("%s asks for no wall time any more", path)
		}
	}
}

// zero reports that a call's one argument is 0, which of Round strips the monotonic
// reading and does nothing else.
func zero(call *ast.CallExpr) bool {
	if len(call.Args) != 1 {
		return false
	}
	lit, ok := call.Args[0].(*ast.BasicLit)
	return ok && lit.Value == "0"
}
