package admin

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestCSVHasTheHeaderOfHAProxy(t *testing.T) {
	want, _, _ := strings.Cut(readFile(t, "testdata/haproxy26.csv"), "\n")
	for name, s := range states() {
		v := s.full()
		if got, _, _ := strings.Cut(string(v.csv()), "\n"); got != want {
			t.Errorf("%s: header\n%s\nwant\n%s", name, got, want)
		}
	}
}

func TestCSVTellsEachState(t *testing.T) {
	for name, s := range states() {
		t.Run(name, func(t *testing.T) {
			v := s.full()
			golden(t, name+".csv", v.csv())
		})
	}
}

func TestCSVPutsFrontendFirstAndBackendLast(t *testing.T) {
	v := ragged().full()
	rows := parseTelegraf(t, string(v.csv()))
	var got []string
	for _, r := range rows {
		got = append(got, r["pxname"]+"/"+r["svname"]+"/"+r["type"])
	}
	var want []string
	for _, px := range []string{"primary", "replicas"} {
		want = append(want, px+"/FRONTEND/0")
		for i := 1; i <= 8; i++ {
			want = append(want, fmt.Sprintf("%s/n%d/2", px, i))
		}
		want = append(want, px+"/BACKEND/1")
	}
	if !slices.Equal(got, want) {
		t.Errorf("rows = %v\nwant %v", got, want)
	}
}

func TestCSVHasHAProxysWordForEachState(t *testing.T) {
	v := ragged().full()
	status := map[string]string{}
	for _, r := range parseTelegraf(t, string(v.csv())) {
		if r["pxname"] == "replicas" {
			status[r["svname"]] = r["status"]
		}
	}
	for server, want := range map[string]string{
		"n1": "DOWN", "n2": "UP", "n3": "UP 2/3", "n4": "NOLB", "n5": "DRAIN", "n6": "MAINT", "n7": "DOWN 1/2", "n8": "no check",
		"FRONTEND": "OPEN", "BACKEND": "UP",
	} {
		if status[server] != want {
			t.Errorf("status of %s = %q, want %q", server, status[server], want)
		}
	}
}

// What the programs do that read HAProxy's table: each rule is one of theirs
// (ha.md 3.4), and each rejects what HAProxy never sends.
func TestReadersOfHAProxyTakeTheCSV(t *testing.T) {
	samples := map[string]string{"HAProxy itself": readFile(t, "testdata/haproxy26.csv")}
	for name, s := range states() {
		v := s.full()
		samples[name] = string(v.csv())
	}
	for name, text := range samples {
		t.Run(name, func(t *testing.T) {
			parseTelegraf(t, text)
			parseExporter(t, text)
			parseDatadog(t, text)
		})
	}
}

// parseTelegraf reads as plugins/inputs/haproxy does: the header begins with "# ",
// every row has as many columns, the type is 0 to 3, and every column that is not
// known to be text parses as an unsigned number.
func parseTelegraf(t *testing.T, text string) []map[string]string {
	t.Helper()
	texts := []string{"status", "check_status", "last_chk", "mode", "tracked", "agent_status", "last_agt", "addr", "cookie"}
	// Of these it makes tags, or knows that they are no numbers.
	texts = append(texts, "pxname", "svname", "-", "check_desc", "agent_desc", "algo", "type")
	r := csv.NewReader(strings.NewReader(text))
	header, err := r.Read()
	if err != nil || !strings.HasPrefix(header[0], "# ") {
		t.Fatalf("header %v, %v", header, err)
	}
	header[0] = header[0][2:]
	var rows []map[string]string
	for {
		line, err := r.Read()
		if errors.Is(err, io.EOF) {
			return rows
		}
		if err != nil || len(line) != len(header) {
			t.Fatalf("%d columns, want %d: %v", len(line), len(header), err)
		}
		row := map[string]string{}
		for i, name := range header {
			row[name] = line[i]
			if line[i] == "" || slices.Contains(texts, name) || name == "lastsess" {
				continue
			}
			if _, err := strconv.ParseUint(line[i], 10, 64); err != nil {
				t.Errorf("%s/%s: %s = %q is no number", row["pxname"], row["svname"], name, line[i])
			}
		}
		if kind, err := strconv.ParseUint(row["type"], 10, 8); err != nil || kind > 3 {
			t.Errorf("type = %q", row["type"])
		}
		rows = append(rows, row)
	}
}

// parseExporter reads as the Prometheus haproxy_exporter does: by index.
func parseExporter(t *testing.T, text string) {
	t.Helper()
	r := csv.NewReader(strings.NewReader(text))
	r.Comment = '#'
	for {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil || len(row) < 33 {
			t.Fatalf("%d columns, %v", len(row), err)
		}
		for _, i := range []int{2, 4, 6, 7, 8, 9, 18, 19, 20, 21, 22, 24, 30, 38, 58, 59, 60, 61} {
			if row[i] == "" {
				continue
			}
			if _, err := strconv.ParseInt(row[i], 10, 64); err != nil {
				t.Errorf("%s/%s: column %d = %q", row[0], row[1], i, row[i])
			}
		}
		switch kind, status := row[32], row[17]; {
		case kind == "0" && row[1] != "FRONTEND", kind == "1" && row[1] != "BACKEND":
			t.Errorf("a row of type %s is %s", kind, row[1])
		case status == "UP", status == "UP 1/3", status == "UP 2/3", status == "OPEN", status == "no check", status == "DRAIN":
		case strings.HasPrefix(status, "DOWN"), status == "NOLB", strings.HasPrefix(status, "MAINT"), status == "STOP":
		default:
			t.Errorf("status = %q", status)
		}
	}
}

// parseDatadog reads as the check haproxy in its legacy mode does: from the end,
// by the header's names, a BACKEND before its servers.
func parseDatadog(t *testing.T, text string) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	fields := strings.Split(strings.TrimPrefix(lines[0], "# "), ",")
	backend := ""
	for _, line := range slices.Backward(lines[1:]) {
		row, err := csv.NewReader(strings.NewReader(line)).Read()
		if err != nil {
			t.Fatal(err)
		}
		of := map[string]string{}
		for i, x := range row {
			if i < len(fields) && x != "" {
				of[fields[i]] = x
			}
		}
		switch {
		case of["svname"] == "BACKEND":
			backend = of["pxname"]
		case of["svname"] != "FRONTEND" && of["pxname"] != backend:
			t.Errorf("server %s comes before the BACKEND of %s", of["svname"], of["pxname"])
		}
		for _, name := range []string{"qcur", "scur", "slim", "stot", "bin", "bout", "lastchg", "qtime", "conn_tot"} {
			if x, ok := of[name]; ok {
				if _, err := strconv.ParseInt(x, 10, 64); err != nil {
					t.Errorf("%s = %q", name, x)
				}
			}
		}
	}
}

func TestTypedFormHasTheFieldsOfTheCSV(t *testing.T) {
	v := ragged().full()
	columns := strings.Split(haproxyColumns, ",")
	rows := parseTelegraf(t, string(v.csv()))
	typed := v.typed()
	if len(typed) != len(rows) {
		t.Fatalf("%d objects, want %d", len(typed), len(rows))
	}
	for i, fields := range typed {
		for _, f := range fields {
			if columns[f.Field.Pos] != f.Field.Name || fmt.Sprint(f.Value.Value) != rows[i][f.Field.Name] {
				t.Errorf("field %+v, the CSV has %q", f, rows[i][f.Field.Name])
			}
		}
	}
	if _, err := json.Marshal(typed); err != nil {
		t.Error(err)
	}
}

func TestHAProxysURLs(t *testing.T) {
	url := serve(t, healthy(), Rules{Refresh: 5e9})
	for path, want := range map[string]string{
		"/;csv": "# pxname", "/stats;csv": "# pxname", "/;csv;norefresh": "# pxname", "/;json": `[[{"objType":"Frontend"`,
		"/;norefresh": "<!doctype html>", "/stats": "<!doctype html>",
	} {
		answer, body := ask(t, "GET", url+path)
		if answer.StatusCode != 200 || !strings.HasPrefix(body, want) {
			t.Errorf("GET %s = %s, %.60q, want it to begin with %q", path, answer.Status, body, want)
		}
		if still := strings.Contains(path, "norefresh"); strings.Contains(body, "http-equiv") == (still || want[0] != '<') {
			t.Errorf("GET %s: refreshing itself is %v", path, still)
		}
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
