package dcs

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/route"
)

var update = flag.Bool("update", false, "write the golden files")

// replay feeds a transcript to the decoder and to route.Build, as control does,
// and writes down each line with what it led to.
type replay struct {
	keys   keyspace
	health route.Health
	fresh  route.Freshness
	table  *route.Table
	out    bytes.Buffer
}

// TestGoldenDialogues: transcripts in testdata, decisions beside them.
func TestGoldenDialogues(t *testing.T) {
	for _, name := range []string{"patroni_3.0.2", "patroni_4_cases"} {
		t.Run(name, func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
			if err != nil {
				t.Fatal(err)
			}
			r := replay{health: route.Health{}, fresh: route.Fresh}
			r.keys.replace(1, 0, nil)
			if err := r.run(text); err != nil {
				t.Fatal(err)
			}
			golden := filepath.Join("testdata", name+".golden.txt")
			if *update {
				if err := os.WriteFile(golden, r.out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			diff(t, r.out.String(), string(want))
		})
	}
}

// diff shows the first line that differs.
func diff(t *testing.T, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Fatalf("line %d (-update writes it):\n got %s\nwant %s", i+1, g[i], w[i])
		}
	}
	if len(g) != len(w) {
		t.Fatalf("got %d lines, want %d", len(g), len(w))
	}
}

func (r *replay) run(text []byte) error {
	var lines [][]string
	for sc := bufio.NewScanner(bytes.NewReader(text)); sc.Scan(); {
		if line := strings.TrimSpace(sc.Text()); line != "" && line[0] != '#' {
			lines = append(lines, strings.SplitN(line, " ", 5))
		}
	}
	for len(lines) > 0 {
		n := 1
		for n < len(lines) && isKey(lines[0]) && isKey(lines[n]) && lines[n][2] == lines[0][2] {
			n++ // one revision is one batch
		}
		if err := r.step(lines[:n]); err != nil {
			return fmt.Errorf("%v: %w", lines[0], err)
		}
		lines = lines[n:]
	}
	return nil
}

func isKey(f []string) bool { return f[1] == "PUT" || f[1] == "DEL" }

// step applies lines that belong together and builds.
func (r *replay) step(lines [][]string) error {
	seconds, err := strconv.ParseFloat(lines[0][0], 64)
	if err != nil {
		return err
	}
	now := time.Unix(1_000_000, 0).Add(time.Duration(seconds * float64(time.Second)))
	switch f := lines[0]; f[1] {
	case "PUT", "DEL":
		err = r.batch(lines)
	case "SQL":
		err = r.probe(f, now)
	default:
		r.fresh = map[string]route.Freshness{"FRESH": route.Fresh, "STALE": route.Stale, "BLIND": route.Blind}[f[1]]
		r.say("%s %s", f[0], f[1])
	}
	if err != nil {
		return err
	}
	r.build(now)
	return nil
}

func (r *replay) batch(lines [][]string) error {
	revision, err := strconv.ParseInt(lines[0][2], 10, 64)
	if err != nil {
		return err
	}
	var events []event
	for _, f := range lines {
		ev := event{kv: KV{Key: "/s/" + f[3], ModRevision: revision}, deleted: f[1] == "DEL"}
		if !ev.deleted {
			ev.kv.Value = []byte(f[4])
		}
		events = append(events, ev)
		r.say("%s", strings.Join(f, " "))
	}
	if !r.keys.apply(revision, events) {
		return fmt.Errorf("revision %d is no news", revision)
	}
	return nil
}

func (r *replay) probe(f []string, now time.Time) error {
	h := r.health[f[2]]
	h.Addr, h.SystemID, h.Err, h.LastCheck = f[2]+":5432", "7301", "", now
	switch f[3] {
	case "writable":
		timeline, err := strconv.ParseUint(f[4], 10, 32)
		if err != nil {
			return err
		}
		h.State, h.Writable, h.InRecovery, h.Timeline, h.AskedAt = route.Up, true, false, uint32(timeline), now
	case "recovery":
		h.State, h.Writable, h.InRecovery, h.Timeline, h.AskedAt = route.Up, false, true, 0, now
	case "down":
		h.State, h.Err = route.Down, f[4]
	}
	r.health[f[2]] = h
	r.say("%s", strings.Join(f, " "))
	return nil
}

func (r *replay) build(now time.Time) {
	topo, faults := Decode("/s/", r.keys.list())
	for _, f := range faults {
		r.say("        fault %s: %v", f.Key, f.Err)
	}
	topo.Revision, topo.ClusterID = r.keys.revision, r.keys.cluster
	next, events := route.Build(r.table, route.Input{Now: now, Topology: topo, Freshness: r.fresh, Health: r.health})
	for _, ev := range events {
		r.say("        %s: %s %s", ev.Kind, ev.Node, ev.Reason)
	}
	if r.table == nil || !r.table.Same(next) {
		var replicas []string
		for _, n := range next.Replicas {
			replicas = append(replicas, n.Name)
		}
		primary := "none"
		if next.Primary != nil {
			primary = next.Primary.Name
		}
		r.say("     -> epoch %d, primary %s, replicas %v", next.Epoch, primary, replicas)
	}
	r.table = next
}

func (r *replay) say(format string, args ...any) {
	r.out.WriteString(strings.TrimRight(fmt.Sprintf(format, args...), " ") + "\n")
}
