package keeper

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestPromisesOutliveTheKeeperOnly(t *testing.T) {
	const now = 100 * time.Second
	unknown := now + unknownPromise
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	tests := []struct {
		name, file string
		until      time.Duration
		term       int64
	}{
		{"none yet", filepath.Join(dir, "new", "promise"), 0, 0},
		{"of this boot", write("this", boot+" 101000000000 7\n"), 101 * time.Second, 7},
		{"of another boot", write("other", "4f0c0000-0000-0000-0000-000000000000 101000000000 7\n"), 0, 0},
		{"cut", write("cut", boot+" 1010"), unknown, 0},
		{"empty", write("empty", ""), unknown, 0},
		{"no folder can be", filepath.Join(write("file", ""), "promise"), unknown, 0},
		{"no file", dir, unknown, 0},
	}
	for _, tt := range tests {
		if until, term := (promise{tt.file}).load(now); until != tt.until || term != tt.term {
			t.Errorf("%s: load = %v, %d, want %v, %d", tt.name, until, term, tt.until, tt.term)
		}
	}
	p := promise{tests[0].file}
	for _, until := range []time.Duration{102 * time.Second, 101 * time.Second} {
		if err := p.store(until, 8); err != nil {
			t.Fatal(err)
		}
		if got, term := p.load(now); got != until || term != 8 {
			t.Errorf("stored %v, loaded %v, %d", until, got, term)
		}
	}
	if err := (promise{filepath.Join(dir, "nowhere", "promise")}).store(now, 1); err == nil {
		t.Error("stored where no folder is")
	}
}

func TestPromisesOfNodesAreApart(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/one:/run/two")
	a, b := promiseOf(config(1, 2)), promiseOf(config(2, 2))
	if a.file == b.file || filepath.Dir(a.file) != "/run/one" {
		t.Errorf("files %s and %s", a.file, b.file)
	}
}
