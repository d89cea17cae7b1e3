package corpus

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

// TestInstructionsEncodeAsPgproto3Does takes the library as the oracle for the
// messages it can build.
func TestInstructionsEncodeAsPgproto3Does(t *testing.T) {
	for _, tc := range []struct {
		line string
		want pgproto3.FrontendMessage
	}{
		{`Q "SELECT 1"`, &pgproto3.Query{String: "SELECT 1"}},
		{`P s "SELECT $1" 23 25`, &pgproto3.Parse{Name: "s", Query: "SELECT $1", ParameterOIDs: []uint32{23, 25}}},
		{`B p s "a" null ""`, &pgproto3.Bind{DestinationPortal: "p", PreparedStatement: "s", Parameters: [][]byte{[]byte("a"), nil, {}}}},
		{`B "" "" "a" b"\x00\x01" -> 1 0`, &pgproto3.Bind{ParameterFormatCodes: []int16{0, 1}, Parameters: [][]byte{[]byte("a"), {0, 1}}, ResultFormatCodes: []int16{1, 0}}},
		{`D S s`, &pgproto3.Describe{ObjectType: 'S', Name: "s"}},
		{`D P ""`, &pgproto3.Describe{ObjectType: 'P'}},
		{`E p 7`, &pgproto3.Execute{Portal: "p", MaxRows: 7}},
		{`E ""`, &pgproto3.Execute{}},
		{`C S s`, &pgproto3.Close{ObjectType: 'S', Name: "s"}},
		{`S`, &pgproto3.Sync{}},
		{`H`, &pgproto3.Flush{}},
		{`X`, &pgproto3.Terminate{}},
		{`c`, &pgproto3.CopyDone{}},
		{`f "why"`, &pgproto3.CopyFail{Message: "why"}},
		{`d "x"*3+"\n"`, &pgproto3.CopyData{Data: []byte("xxx\n")}},
		{`F 177 "1" null -> 1`, &pgproto3.FunctionCall{Function: 177, Arguments: [][]byte{[]byte("1"), nil}, ResultFormatCode: 1}},
	} {
		ts, err := Parse("test", strings.NewReader("transcript t\n"+tc.line+"\nwait Z\n"))
		if err != nil {
			t.Errorf("%s: %v", tc.line, err)
			continue
		}
		want, err := tc.want.Encode(nil)
		if err != nil {
			t.Errorf("%s: %v", tc.line, err)
		}
		if got := ts[0].Script[0].Client; !bytes.Equal(got, want) {
			t.Errorf("%s:\n got  %q\n want %q", tc.line, got, want)
		}
	}
}

func TestTranscriptSyntax(t *testing.T) {
	ts, err := Parse("test", strings.NewReader(`
# a comment
transcript first primary alone
startup TimeZone "Asia/Tokyo"
times 2
Q ""
end
wait Z 2
S
wait Z
transcript second
Q "x"
cut
wait eof
`))
	if err != nil {
		t.Fatal(err)
	}
	if len(ts) != 2 {
		t.Fatalf("%d transcripts, want 2", len(ts))
	}
	first, second := ts[0], ts[1]
	if !first.Has(TagPrimary) || !first.Has(TagAlone) || second.Has(TagPrimary) {
		t.Errorf("tags %v and %v", first.Tags, second.Tags)
	}
	if want := []Param{{"TimeZone", "Asia/Tokyo"}}; !slices.Equal(first.Startup, want) {
		t.Errorf("startup %v, want %v", first.Startup, want)
	}
	if got, want := string(first.Script[0].Client), "Q\x00\x00\x00\x05\x00Q\x00\x00\x00\x05\x00"; got != want {
		t.Errorf("times 2 gave %q, want %q", got, want)
	}
	if got, want := first.Script[0].Wait.String(), "wait Z 2"; got != want {
		t.Errorf("barrier %q, want %q", got, want)
	}
	if len(first.Script) != 3 || string(first.Script[2].Client) != "X\x00\x00\x00\x04" || !first.Script[2].Wait.EOF {
		t.Errorf("no Terminate at the end of %+v", first.Script)
	}
	if !first.Reusable() || second.Reusable() {
		t.Errorf("reusable %v and %v, want true and false", first.Reusable(), second.Reusable())
	}
	if !second.Script[0].Cut || len(second.Script) != 1 {
		t.Errorf("script of second %+v", second.Script)
	}
}

func TestTranscriptFaults(t *testing.T) {
	for _, tc := range []struct{ name, text string }{
		{"outside a transcript", `Q "x"`},
		{"unknown instruction", "transcript t\nquery x\nwait Z"},
		{"unknown tag", "transcript t fast"},
		{"no name", "transcript"},
		{"no wait at the end", "transcript t\nQ \"x\""},
		{"open times", "transcript t\ntimes 2\nQ \"x\"\nwait Z"},
		{"end alone", "transcript t\nend"},
		{"message after cut", "transcript t\ncut\nQ \"x\"\nwait eof"},
		{"open string", "transcript t\nQ \"x\nwait Z"},
		{"too long a repeat", "transcript t\nQ \"x\"*99999999999\nwait Z"},
		{"no SQL", "transcript t\nQ\nwait Z"},
		{"not a target", "transcript t\nD X s\nwait Z"},
		{"wait for a word", "transcript t\nQ \"x\"\nwait long"},
	} {
		if ts, err := Parse("test", strings.NewReader(tc.text)); err == nil {
			t.Errorf("%s: accepted as %+v", tc.name, ts)
		}
	}
}

func FuzzQuoteRuns(f *testing.F) {
	f.Add([]byte("abc"))
	f.Add([]byte(strings.Repeat("x", 100) + "\xff\x00" + strings.Repeat("\x00", 40)))
	f.Add([]byte("ü\"+\"*3"))
	f.Fuzz(func(t *testing.T, body []byte) {
		text, rest, err := quotedSum(quoteRuns(body))
		if err != nil || rest != "" || text != string(body) {
			t.Errorf("%q came back as %q, rest %q, %v", body, text, rest, err)
		}
	})
}

// FuzzParse holds the reader of transcripts to not panicking; what it accepts
// has a barrier behind every batch.
func FuzzParse(f *testing.F) {
	f.Add("transcript t\nB p s \"a\" null -> 1\nS\nwait Z 2\n")
	f.Add("transcript t alone\ntimes 3\nQ \"a\"*3+\"b\"\nwait Z\nend\ncut\nwait eof")
	f.Fuzz(func(t *testing.T, text string) {
		ts, err := Parse("fuzz", strings.NewReader(text))
		if err != nil {
			return
		}
		for _, tr := range ts {
			for i, b := range tr.Script {
				if !b.Wait.EOF && b.Wait.Count < 1 {
					t.Errorf("batch %d without a barrier: %+v", i, b)
				}
			}
		}
	})
}
