package corpus

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func recorded(welcome string, steps ...string) *Recording {
	r := &Recording{Name: "test", Welcome: []byte(welcome)}
	for _, s := range steps {
		r.Steps = append(r.Steps, Step{Server: []byte(s)})
	}
	return r
}

func server(parts ...string) string {
	var all []byte
	for _, p := range parts {
		all = append(all, message(p[0], []byte(p[1:]))...)
	}
	return string(all)
}

func TestCompareFindsTheFirstDifference(t *testing.T) {
	welcome := server("STimeZone\x00UTC\x00", "K\x00\x00\x00\x01\x00\x00\x00\x02", "ZI")
	want := recorded(welcome, server("CSELECT 1\x00", "ZI"), server("1", "2", "ZI"))
	for _, tc := range []struct {
		name        string
		got         *Recording
		step, index int
		text        string
	}{
		{"another parameter", recorded(server("STimeZone\x00CET\x00", "K\x00\x00\x00\x01\x00\x00\x00\x02", "ZI")), 0, 0, "CET"},
		{"a message less", recorded(welcome, server("ZI"), server("1", "2", "ZI")), 1, 0, `got  Z "I"`},
		{"a message more", recorded(welcome, server("CSELECT 1\x00", "ZI", "N"), server("1", "2", "ZI")), 1, 2, "want nothing"},
		{"another body", recorded(welcome, server("CSELECT 1\x00", "ZT"), server("1", "2", "ZI")), 1, 1, `got  Z "T"`},
		{"a step less", recorded(welcome, server("CSELECT 1\x00", "ZI")), 2, 0, "got  nothing"},
		{"half a message", recorded(welcome, server("CSELECT 1\x00", "ZI"), server("1", "2")+"Z\x00\x00"), 2, 2, "got  broken "},
		{"shifted barrier", recorded(welcome, server("CSELECT 1\x00"), server("ZI", "1", "2", "ZI")), 1, 1, "got  nothing"},
	} {
		var d *Difference
		if err := Compare(tc.got, want, Normaliser{}); !errors.As(err, &d) {
			t.Errorf("%s: Compare gave %v", tc.name, err)
			continue
		}
		if d.Step != tc.step || d.Index != tc.index || !strings.Contains(d.Error(), tc.text) {
			t.Errorf("%s: step %d, message %d, want %d, %d and %q in:\n%v", tc.name, d.Step, d.Index, tc.step, tc.index, tc.text, d)
		}
	}
	if err := Compare(want, want, Normaliser{}); err != nil {
		t.Errorf("a recording differs from itself: %v", err)
	}
}

// Rule 20: byte for byte means except BackendKeyData, application_name where it
// is rewritten, and process ids in notices.
func TestCompareBlanksWhatMayDiffer(t *testing.T) {
	for _, tc := range []struct {
		name  string
		a, b  string
		norm  Normaliser
		equal bool
	}{
		{"key", server("K\x00\x00\x00\x01\x00\x00\x00\x02"), server("K\x00\x00\x00\x03\x00\x00\x00\x04"), Normaliser{}, true},
		{"notifying process", server("A\x00\x00\x00\x01chan\x00x\x00"), server("A\x00\x00\x00\x02chan\x00x\x00"), Normaliser{}, true},
		{"payload", server("A\x00\x00\x00\x01chan\x00x\x00"), server("A\x00\x00\x00\x01chan\x00y\x00"), Normaliser{}, false},
		{"process in a notice", server("NMprocess 17 waits\x00\x00"), server("NMprocess 4 waits\x00\x00"), Normaliser{}, true},
		{"number in a notice", server("NMrow 17\x00\x00"), server("NMrow 4\x00\x00"), Normaliser{}, false},
		{"process in an error", server("EMprocess 17\x00\x00"), server("EMprocess 4\x00\x00"), Normaliser{}, false},
		{"application_name", server("Sapplication_name\x00a\x00"), server("Sapplication_name\x00b\x00"), Normaliser{}, false},
		{"application_name rewritten", server("Sapplication_name\x00a\x00"), server("Sapplication_name\x00b\x00"), Normaliser{ApplicationName: true}, true},
		{"line of an error", server("EC22012\x00L1\x00\x00"), server("EC22012\x00L2\x00\x00"), Normaliser{}, false},
		{"line of an error in a golden", server("EC22012\x00L1\x00\x00"), server("EC22012\x00L2\x00\x00"), Normaliser{Version: true}, true},
		{"code of an error in a golden", server("EC22012\x00L1\x00\x00"), server("EC22013\x00L1\x00\x00"), Normaliser{Version: true}, false},
	} {
		err := Compare(recorded("", tc.a), recorded("", tc.b), tc.norm)
		if (err == nil) != tc.equal {
			t.Errorf("%s: equal %v, want %v", tc.name, err == nil, tc.equal)
		}
	}
}

func TestGoldenReadsBackWhatItWrote(t *testing.T) {
	ts, err := Parse("test", strings.NewReader("transcript t\nQ \"x\"\nwait Z\n"))
	if err != nil {
		t.Fatal(err)
	}
	rec := recorded(server("ZI"), server("D"+strings.Repeat("y", 5000)+"\x00\xff", "1", "1", "1", "ZI"), "")
	var text bytes.Buffer
	if err := writeGolden(&text, ts[0], rec, Normaliser{}); err != nil {
		t.Fatal(err)
	}
	if text.Len() > 200 {
		t.Errorf("runs are not folded: %d bytes\n%s", text.Len(), &text)
	}
	got, err := readGolden(ts[0], &text)
	if err != nil {
		t.Fatal(err)
	}
	if err := Compare(got, rec, Normaliser{}); err != nil {
		t.Error(err)
	}
	if want := ts[0].Script[0].Client; !bytes.Equal(got.Steps[0].Client, want) {
		t.Errorf("client bytes %q, want %q", got.Steps[0].Client, want)
	}
}

func FuzzMessages(f *testing.F) {
	f.Add([]byte(server("CSELECT 1\x00", "ZI")))
	f.Add([]byte("Z\x00\x00\x00\x03I"))
	f.Add([]byte("D\xff\xff\xff\xffx"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		var back []byte
		for _, m := range Messages(stream) {
			if m.Broken {
				back = append(back, m.Body...)
				break
			}
			back = append(back, message(m.Type, m.Body)...)
		}
		if !bytes.Equal(back, stream) {
			t.Errorf("%q came back as %q", stream, back)
		}
		Normaliser{ApplicationName: true, Version: true}.Stream(stream)
	})
}
