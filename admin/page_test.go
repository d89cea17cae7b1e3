package admin

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/stats"
)

var update = flag.Bool("update", false, "write the golden files anew")

func states() map[string]*stage {
	return map[string]*stage{"healthy": healthy(), "noprimary": noPrimary(), "blind": blind(), "ragged": ragged(), "fresh": fresh(),
		"vip": withVIP(), "lostvip": lostVIP()}
}

func TestPageShowsEachState(t *testing.T) {
	p := newPages()
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			v := s.full()
			var b bytes.Buffer
			if err := p.render(&b, &v, 5*time.Second); err != nil {
				t.Fatal(err)
			}
			if b.Len() > 20<<10 {
				t.Errorf("the page has %d bytes, more than 20 kB", b.Len())
			}
			golden(t, name+".html", b.Bytes())
		})
	}
}

// golden compares with a file of testdata, or writes it.
func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs; run the test with -update and look at the difference", path)
	}
}

func TestPageTellsNamesFromMarkup(t *testing.T) {
	s := healthy()
	s.load.Pools = append(s.load.Pools, stats.Pool{Node: "n1", Role: "primary", Database: "<script>alert(1)</script>", User: `"><img src=x>`})
	v, p := s.full(), newPages()
	var b bytes.Buffer
	if err := p.render(&b, &v, 0); err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{"<script", "<img", "http-equiv"} {
		if strings.Contains(b.String(), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
}

func TestPageStaysSmallWithThousandsOfPools(t *testing.T) {
	s := healthy()
	for i := range 5000 {
		s.load.Pools = append(s.load.Pools, stats.Pool{Node: "n1", Role: "primary", Database: "db" + strings.Repeat("x", i%7), User: string(rune('a'+i%26)) + strings.Repeat("y", i/26)})
	}
	s.load.Pools[4999].Waiting = 7
	v, p := s.full(), newPages()
	var b bytes.Buffer
	if err := p.render(&b, &v, 0); err != nil {
		t.Fatal(err)
	}
	if b.Len() > 100<<10 {
		t.Errorf("the page has %d bytes", b.Len())
	}
	wants(t, b.String(), `hot">7<`, "more in")
}

func TestTimesInWords(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 900 * time.Millisecond: "0 s", 59 * time.Second: "59 s", time.Minute: "1 min", 250 * time.Second: "4 min 10 s",
		2*time.Hour + 5*time.Minute: "2 h 5 min", 74 * time.Hour: "3 d 2 h",
	} {
		if got := span(d); got != want {
			t.Errorf("span(%v) = %q, want %q", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0 B", 999: "999 B", 1000: "1 kB", 81920: "81.9 kB", 186e6: "186 MB", 5e15: "5 PB"} {
		if got := size(n); got != want {
			t.Errorf("size(%d) = %q, want %q", n, got, want)
		}
	}
}
