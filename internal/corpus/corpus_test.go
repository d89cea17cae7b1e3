package corpus

import (
	"errors"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

var update = flag.Bool("update", false, "record the goldens anew")

// transcripts loads the corpus or ends the test.
func transcripts(tb testing.TB) []*Transcript {
	tb.Helper()
	all, err := Load()
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// TestPostgresAnswersTheGoldens plays everything against a real PostgreSQL, the
// source of truth, and is what writes the goldens.
func TestPostgresAnswersTheGoldens(t *testing.T) {
	player := NewPlayer(startPostgres(t))
	for _, tr := range transcripts(t) {
		t.Run(tr.Name, func(t *testing.T) {
			got, err := player.Play(t.Context(), tr, Chunking{})
			if err != nil {
				t.Fatal(err)
			}
			norm := Normaliser{Version: true}
			if *update {
				save(t, tr, got, norm)
				return
			}
			want, err := Golden(tr)
			if err != nil {
				t.Fatal(err)
			}
			if err := Compare(got, want, norm); err != nil {
				t.Error(err)
			}
		})
	}
}

func save(t *testing.T, tr *Transcript, r *Recording, norm Normaliser) {
	t.Helper()
	f, err := os.Create(filepath.Join("testdata", "golden", tr.Name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(writeGolden(f, tr, r, norm), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// TestEveryTranscriptHasAGolden and no golden is left of a transcript that went.
func TestEveryTranscriptHasAGolden(t *testing.T) {
	known := map[string]bool{}
	for _, tr := range transcripts(t) {
		known[tr.Name+".txt"] = true
		if _, err := Golden(tr); err != nil {
			t.Errorf("%s: %v", tr.Name, err)
		}
	}
	entries, err := fs.ReadDir(files, "testdata/golden")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !known[e.Name()] {
			t.Errorf("golden %s belongs to no transcript", e.Name())
		}
	}
}

// TestChunkingChangesNothing holds PostgreSQL itself to what a proxy is held to:
// the bytes of the answer do not depend on how the request was cut.
func TestChunkingChangesNothing(t *testing.T) {
	player := NewPlayer(startPostgres(t))
	for _, tr := range transcripts(t) {
		t.Run(tr.Name, func(t *testing.T) {
			want, err := player.Play(t.Context(), tr, Chunking{})
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range []Chunking{{}, {Coalesced: true}, {Bytewise: tr.Short()}} {
				got, err := player.Play(t.Context(), tr, c)
				if err != nil {
					t.Fatal(err)
				}
				if err := Compare(got, want, Normaliser{}); err != nil {
					t.Errorf("%v: %v", c, err)
				}
			}
		})
	}
}

// directStride thins out the splits played against PostgreSQL itself, which is
// not what is under test: that its answers stay the same is, and takes a sample.
const directStride = 5

// TestSplitsChangeNothing is the same for writes cut in two.
func TestSplitsChangeNothing(t *testing.T) {
	player := NewPlayer(startPostgres(t))
	for _, tr := range transcripts(t) {
		t.Run(tr.Name, func(t *testing.T) {
			if tr.Reusable() {
				tr = tr.Kept()
			}
			want, err := player.Play(t.Context(), tr, Chunking{})
			if err != nil {
				t.Fatal(err)
			}
			var splits []int
			for i, at := range tr.Splits() {
				if i%directStride == 0 {
					splits = append(splits, at)
				}
			}
			if err := player.PlaySplits(t.Context(), tr, splits, 4, want); err != nil {
				t.Error(err)
			}
		})
	}
}
