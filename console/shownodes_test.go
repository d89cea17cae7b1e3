package console

import (
	"strings"
	"testing"
)

func TestShowNodes(t *testing.T) {
	wantRows(t, "SHOW NODES",
		"name=n1 addr=10.0.0.11:5432 role=primary state=up admin=ready port=primary reason=- weight=1 throttle=100 lag_bytes=- lag_ms=- "+
			"check=L7OK last_chk=primary, timeline 3 checked_ms_ago=- check_ms=2 since=2026-11-24 01:02:03 UTC chkdown=0 downtime=0 "+
			"cl_reading=0 cl_waiting=0 sv_active=4 sv_idle=5 maxconn=0 timeline=3 epoch=7",
		"name=n2 addr=10.0.0.12:5432 role=replica state=down admin=drain port=- reason=down: refused weight=5 throttle=35 lag_bytes=4096 lag_ms=1500 "+
			"check=L4CON last_chk=- checked_ms_ago=- check_ms=0 since=- chkdown=2 downtime=90 "+
			"cl_reading=6 cl_waiting=8 sv_active=0 sv_idle=0 maxconn=90 timeline=0 epoch=7",
	)
}

// wantRows compares what a SHOW gives, NULL as a dash.
func wantRows(t *testing.T, sql string, want ...string) {
	t.Helper()
	conn := newSite(t, 0).connect(t, "monitor")
	results, err := conn.Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	r := results[0]
	var got []string
	for _, cells := range r.Rows {
		var texts []string
		for i, cell := range cells {
			text := string(cell)
			if cell == nil {
				text = "-"
			}
			texts = append(texts, r.FieldDescriptions[i].Name+"="+text)
		}
		got = append(got, strings.Join(texts, " "))
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestServerCommands: READY, DRAIN and MAINT, for administrators, of servers that
// there are.
func TestServerCommands(t *testing.T) {
	s := newSite(t, 0)
	admin, looker := s.connect(t, "root"), s.connect(t, "monitor")
	for _, verb := range []string{"DRAIN", "Maint", "ready"} {
		results, err := admin.Exec(t.Context(), verb+" n1;").ReadAll()
		if err != nil || results[0].CommandTag.String() != strings.ToUpper(verb) {
			t.Errorf("%s n1: %v, %v", verb, results, err)
		}
		if _, err := admin.Exec(t.Context(), verb+" nobody").ReadAll(); code(err) != "42704" || !strings.Contains(err.Error(), "no such server: nobody") {
			t.Errorf("%s nobody: %v", verb, err)
		}
		if _, err := admin.Exec(t.Context(), verb).ReadAll(); code(err) != "42601" || !strings.Contains(err.Error(), "a server is required") {
			t.Errorf("%s: %v", verb, err)
		}
		if _, err := looker.Exec(t.Context(), verb+" n1").ReadAll(); code(err) != "42501" {
			t.Errorf("%s by who may only look: %v", verb, err)
		}
	}
	if got, want := s.fake.told(), "drain n1,maint n1,ready n1"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}
