package auth

import (
	"strings"
	"testing"
	"unicode"
)

// The examples of RFC 4013 section 3 first, with PostgreSQL's rule that what is
// prohibited is used as it stands. dial's tests hold the whole against a server.
func TestSASLprep(t *testing.T) {
	tests := []struct{ name, in, want string }{
		{"SOFT HYPHEN mapped to nothing", "I\u00adX", "IX"},
		{"no transformation", "user", "user"},
		{"case preserved", "USER", "USER"},
		{"output is NFKC, input in ISO 8859-1", "\u00aa", "a"},
		{"output is NFKC", "\u2168", "IX"},
		{"prohibited character", "\u0007", "\u0007"},
		{"bidirectional check", "\u0627\u0031", "\u0627\u0031"},

		{"empty", "", ""},
		{"ASCII control is not looked at", "a\x07b", "a\x07b"},
		{"no-break space", "a\u00a0b", "a b"},
		{"ideographic space", "a\u3000b", "a b"},
		{"zero width space is a space", "a\u200bb", "a b"},
		{"zero width joiner", "a\u200db", "ab"},
		{"only mapped to nothing", "\u00ad\u200d", "\u00ad\u200d"},
		{"decomposed", "o\u0308", "\u00f6"},
		{"control beside a compatibility character", "\u0007\u00aa", "\u0007\u00aa"},
		{"private use", "\ue000\u00aa", "\ue000\u00aa"},
		{"tagging", "\U000e0041\u00aa", "\U000e0041\u00aa"},
		{"not in Unicode 3.2", "\U0001f600\u00aa", "\U0001f600\u00aa"},
		{"right to left", "\u0627\u0644", "\u0627\u0644"},
		{"right to left with a presentation form", "\ufe8d\u0644", "\u0627\u0644"},
		{"right to left, left to right inside", "\u0627a\u00aa\u0627", "\u0627a\u00aa\u0627"},
		{"right to left, neutral at the end", "\u0627\u00bc!", "\u0627\u00bc!"},
		{"no UTF-8", "\u00aa\xff", "\u00aa\xff"},
		{"surrogate half", "\u00aa\xed\xa0\x80", "\u00aa\xed\xa0\x80"},
	}
	for _, tt := range tests {
		if got := saslPrep(tt.in); got != tt.want {
			t.Errorf("%s: saslPrep(%+q) = %+q, want %+q", tt.name, tt.in, got, tt.want)
		}
	}
}

// unicode.Is searches: a table out of order would miss some characters only.
func TestSASLprepTablesAreInOrder(t *testing.T) {
	for name, table := range map[string]*unicode.RangeTable{"A.1": unassigned, "B.1": mappedToNothing,
		"C.1.2": nonASCIISpace, "C": prohibited, "D.1": randALCat, "D.2": lCat} {
		last, latin := int64(-1), 0
		for _, r := range table.R16 {
			if int64(r.Lo) <= last || r.Hi < r.Lo || r.Stride != 1 {
				t.Errorf("%s: range %+v is out of order", name, r)
			}
			last = int64(r.Hi)
			if r.Hi <= unicode.MaxLatin1 {
				latin++
			}
		}
		for _, r := range table.R32 {
			if int64(r.Lo) <= max(last, 0xffff) || r.Hi < r.Lo || r.Stride != 1 {
				t.Errorf("%s: range %+v is out of order", name, r)
			}
			last = int64(r.Hi)
		}
		if latin != table.LatinOffset {
			t.Errorf("%s: LatinOffset is %d, want %d", name, table.LatinOffset, latin)
		}
	}
}

func FuzzSASLprep(f *testing.F) {
	f.Add("I\u00adX")
	f.Add("\u0627\u0031")
	f.Fuzz(func(t *testing.T, password string) {
		got := saslPrep(password)
		if password != "" && got == "" {
			t.Fatalf("saslPrep(%q) is empty", password)
		}
		if isASCII(password) && got != password {
			t.Fatalf("saslPrep(%q) = %q", password, got)
		}
		if strings.ContainsRune(got, 0) != strings.ContainsRune(password, 0) {
			t.Fatalf("saslPrep(%q) = %q", password, got)
		}
	})
}
