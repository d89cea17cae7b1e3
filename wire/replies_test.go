package wire_test

import (
	"testing"

	"github.com/pgvip/pgvip/internal/corpus"
	"github.com/pgvip/pgvip/wire"
)

// talk plays a conversation: "> PBES" is sent, "< 12C" comes back, "< Z:I" is a
// ReadyForQuery. A dot after a letter swallows its reply, a plus makes it up.
func talk(t *testing.T, r *wire.Replies, sent, got string) {
	t.Helper()
	for i := 0; i < len(sent); i++ {
		action := wire.Forward
		typ := sent[i]
		if i+1 < len(sent) {
			switch sent[i+1] {
			case '.':
				action = wire.Swallow
				i++
			case '+':
				action = wire.Synthesise
				i++
			}
		}
		r.Sent(typ, action)
	}
	for i := 0; i < len(got); i++ {
		var err error
		if got[i] == 'Z' {
			_, err = r.GotReady(got[i+1])
			i++
		} else {
			_, err = r.Got(got[i])
		}
		if err != nil {
			t.Fatalf("%q at %d: %v", got, i, err)
		}
	}
}

func TestRepliesSettleWhenEverythingWasAnswered(t *testing.T) {
	for name, row := range map[string]struct {
		sent, got     string
		settled, free bool
	}{
		"nothing":                            {"", "", true, true},
		"query":                              {"Q", "TDCZI", true, true},
		"query begins":                       {"Q", "CZT", true, false},
		"query failed in a transaction":      {"Q", "EZE", true, false},
		"query half answered":                {"Q", "TD", false, false},
		"several statements":                 {"Q", "TDCCTDCZI", true, true},
		"empty query":                        {"Q", "IZI", true, true},
		"extended":                           {"PBDES", "12TDCZI", true, true},
		"describe statement":                 {"PDS", "1tTZI", true, true},
		"describe of no rows":                {"PDBES", "1tn2CZI", true, true},
		"flush settles nothing":              {"PBEH", "12DC", false, false},
		"flush, then sync":                   {"PBEHS", "12DCZI", true, true},
		"suspended portal":                   {"PBES", "12DsZI", true, true},
		"suspended, more, sync":              {"PBEES", "12DsDCZI", true, true},
		"error skips to sync":                {"PBDES", "EZI", true, true},
		"error before the sync is sent":      {"PBDE", "1E", false, false},
		"error, then the sync":               {"PBDES", "1EZI", true, true},
		"two syncs, one answered":            {"PBESPBES", "12CZI", false, false},
		"two syncs":                          {"PBESPBES", "12CZI12CZI", true, true},
		"error in the first batch only":      {"PBESPBES", "EZI12CZI", true, true},
		"query inside a batch":               {"PBEQS", "12CTDCZIZI", true, true},
		"query skipped after an error":       {"PBEQS", "1EZI", true, true},
		"function call":                      {"F", "VZI", true, true},
		"function call fails":                {"F", "EZI", true, true},
		"notices and parameters anywhere":    {"Q", "NSTNDASCNZI", true, true},
		"commit fails at sync":               {"PBES", "12CEZI", true, true},
		"copy out":                           {"Q", "HddcCZI", true, true},
		"copy in":                            {"Qdc", "GCZI", true, true},
		"copy in waits for data":             {"Q", "G", false, false},
		"copy in fails by the client":        {"Qf", "GEZI", true, true},
		"copy in fails at once":              {"Qc", "EZI", true, true},
		"copy in with syncs":                 {"QSSc", "GCZI", true, true},
		"copy in with syncs fails":           {"QSSc", "GEZI", true, false},
		"copy in with syncs, next query":     {"QScQ", "GCZITDCZI", true, true},
		"copy in, late end is ignored":       {"Q", "GEZI", true, true},
		"extended copy in":                   {"PBEScS", "12GCZI", true, true},
		"extended copy in, syncs in between": {"PBESSSScS", "12GCZI", true, true},
		"copy error with doubtful syncs":     {"PBEScS", "12GEZI", true, false},
		"surplus answered later":             {"PBEScS", "12GEZIZI", true, true},
		"copy that never began":              {"PBEScS", "EZIZI", true, true},
		"query consumed by a copy":           {"PBEQS", "12GEZI", true, true},
		"replication streams":                {"Q", "WdNd", false, false},
		"replication ends":                   {"Qddcc", "WddcCZI", true, true},
		"replication ends with a timeline":   {"Qdc", "WdcTDCCZI", true, true},
		"replication fails":                  {"Qd", "WdEZI", true, true},
		"replication fails, late end":        {"Qdc", "WEZI", true, true},
		"replication, then a query":          {"QdcQ", "WdcCZITDCZI", true, true},
		"base backup":                        {"Q", "TDCTDCHddcHddcTDCCZI", true, true},
		"cancelled between messages":         {"PBEH", "12DCE", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			var r wire.Replies
			r.SetStatus('I')
			talk(t, &r, row.sent, row.got)
			if got := r.Settled(); got != row.settled {
				t.Errorf("Settled() = %v, want %v (%d outstanding)", got, row.settled, r.Outstanding())
			}
			if got := r.Free(); got != row.free {
				t.Errorf("Free() = %v, want %v", got, row.free)
			}
		})
	}
}

func TestLateCopyEndAfterTheErrorIsForgotten(t *testing.T) {
	var r wire.Replies
	talk(t, &r, "Q", "GEZI")
	talk(t, &r, "ddc", "") // the client had not seen the error yet
	if !r.Free() {
		t.Error("CopyDone outside of COPY is waited for")
	}
	talk(t, &r, "Q", "TDCZI")
	if !r.Free() {
		t.Error("out of step after a late CopyDone")
	}
}

func TestSyncDuringCopySentLater(t *testing.T) {
	var r wire.Replies
	talk(t, &r, "PBES", "12G")
	if !r.CopyIn() {
		t.Fatal("not in COPY")
	}
	talk(t, &r, "dSdScS", "CZI")
	if !r.Free() {
		t.Errorf("%d outstanding", r.Outstanding())
	}
}

func TestCopyBothLastsUntilOneSideEndsIt(t *testing.T) {
	for _, row := range []struct {
		sent, got, then string
		want            bool
	}{
		{"Q", "", "", false},
		{"Q", "W", "", true},
		{"Qd", "Wdd", "d", true},
		{"Q", "Wdc", "d", true}, // the server's CopyDone waits for the client's
		{"Q", "Wd", "c", false},
		{"Qc", "W", "", false},
		{"Q", "WdE", "", false},
		{"Qc", "WdcCZI", "", false},
	} {
		var r wire.Replies
		r.SetStatus('I')
		talk(t, &r, row.sent, row.got)
		talk(t, &r, row.then, "")
		if got := r.CopyBoth(); got != row.want {
			t.Errorf("%q, %q, %q: CopyBoth() = %v, want %v", row.sent, row.got, row.then, got, row.want)
		}
	}
}

func TestUnexpectedRepliesAreRefused(t *testing.T) {
	for name, row := range map[string]struct{ sent, got, then string }{
		"row for nobody":            {"", "", "D"},
		"ready for nobody":          {"", "", "Z"},
		"bind complete for a parse": {"PBS", "", "2"},
		"command complete for sync": {"S", "", "C"},
		"unknown type":              {"Q", "", "@"},
		"authentication":            {"Q", "", "R"},
		"copy both for nobody":      {"", "", "W"},
		"copy both for a batch":     {"PBES", "12", "W"},
		"copy in for a describe":    {"DS", "", "G"},
		"ready inside a batch":      {"PBES", "1", "Z"},
		"suspended query":           {"Q", "", "s"},
	} {
		t.Run(name, func(t *testing.T) {
			var r wire.Replies
			talk(t, &r, row.sent, row.got)
			var err error
			if row.then == "Z" {
				_, err = r.GotReady('I')
			} else {
				_, err = r.Got(row.then[0])
			}
			if err != wire.ErrUnexpectedReply {
				t.Errorf("error %v, want ErrUnexpectedReply", err)
			}
		})
	}
}

func TestReadyForQueryStatusIsChecked(t *testing.T) {
	var r wire.Replies
	r.Sent('Q', wire.Forward)
	if _, err := r.GotReady('X'); err == nil {
		t.Error("status X taken")
	}
}

func TestActionsFollowTheirMessages(t *testing.T) {
	var r wire.Replies
	talk(t, &r, "Q.Q", "")
	want := []struct {
		typ    byte
		action wire.Action
	}{
		{'T', wire.Swallow}, {'D', wire.Swallow}, {'N', wire.Swallow}, {'S', wire.Swallow},
		{'A', wire.Forward}, {'C', wire.Swallow}, {'Z', wire.Swallow},
		{'T', wire.Forward}, {'C', wire.Forward}, {'Z', wire.Forward},
	}
	for i, w := range want {
		var got wire.Action
		var err error
		if w.typ == 'Z' {
			got, err = r.GotReady('I')
		} else {
			got, err = r.Got(w.typ)
		}
		if err != nil || got != w.action {
			t.Fatalf("message %d (%c): %v, %v; want %v", i, w.typ, got, err, w.action)
		}
	}
}

func TestSyntheticRepliesComeInTheirTurn(t *testing.T) {
	var r wire.Replies
	// Parse is answered by us, Bind and Execute by the server, Close by us.
	talk(t, &r, "P+BEC+S", "")
	expect := func(want string) {
		t.Helper()
		var got string
		for {
			typ, ok := r.Synthetic()
			if !ok {
				break
			}
			got += string(rune(typ))
		}
		if got != want {
			t.Fatalf("made up %q, want %q", got, want)
		}
	}
	expect("1")
	talk(t, &r, "", "2")
	expect("")
	talk(t, &r, "", "C")
	expect("3")
	talk(t, &r, "", "ZI")
	if !r.Free() {
		t.Error("not free")
	}
}

func TestSyntheticRepliesAfterAnErrorAreSkipped(t *testing.T) {
	var r wire.Replies
	talk(t, &r, "BEC+S", "E")
	if typ, ok := r.Synthetic(); ok {
		t.Errorf("made up %c after the error", typ)
	}
	talk(t, &r, "", "ZI")
	if !r.Free() {
		t.Error("not free")
	}
}

// TestCorpusKeepsRepliesInStep feeds the queue what a real PostgreSQL 15 said in
// every conversation of the corpus, at every chunking of its bytes.
func TestCorpusKeepsRepliesInStep(t *testing.T) {
	recordings, err := corpus.Goldens()
	if err != nil {
		t.Fatal(err)
	}
	if len(recordings) < 50 {
		t.Fatalf("%d recordings, the corpus has more", len(recordings))
	}
	for _, rec := range recordings {
		t.Run(rec.Name, func(t *testing.T) {
			var r wire.Replies
			r.SetStatus('I')
			front, back := wire.Framer{}, wire.NewBackendFramer()
			for i, step := range rec.Steps {
				feed(t, &front, step.Client, func(typ byte, _ []byte) error {
					r.Sent(typ, wire.Forward)
					return nil
				})
				if !feed(t, &back, step.Server, func(typ byte, m []byte) error {
					if typ == 'Z' {
						_, err := r.GotReady(m[5])
						return err
					}
					_, err := r.Got(typ)
					return err
				}) {
					t.Fatalf("step %d: out of step", i)
				}
			}
		})
	}
}

// feed cuts stream into messages and gives each to f.
func feed(t *testing.T, fr *wire.Framer, stream []byte, f func(byte, []byte) error) bool {
	t.Helper()
	for len(stream) > 0 {
		typ, n, piece := fr.Next(stream)
		switch piece {
		case wire.Short, wire.Bad:
			return true // half a message at the end of a transcript
		case wire.Whole, wire.First:
			if err := f(typ, stream[:n]); err != nil {
				t.Errorf("message %c: %v", typ, err)
				return false
			}
		}
		stream = stream[n:]
	}
	return true
}

func TestMessagesAreNumbered(t *testing.T) {
	var r wire.Replies
	talk(t, &r, "PBEHSQ", "")
	if r.Done() != 0 || r.Last() != 5 {
		t.Errorf("done %d of %d, want 0 of 5: a Flush has no answer", r.Done(), r.Last())
	}
	talk(t, &r, "", "1E")
	if r.Done() != 3 || r.Last() != 5 {
		t.Errorf("done %d of %d, want 3 of 5: what is skipped counts", r.Done(), r.Last())
	}
	talk(t, &r, "", "ZICZI")
	if r.Done() != 5 {
		t.Errorf("done %d, want 5", r.Done())
	}
}

// TestAnErrorIsHisWhoSentTheSync: a message put in front of a client's own fails
// the client's batch.
func TestAnErrorIsHisWhoSentTheSync(t *testing.T) {
	for sent, want := range map[string]wire.Action{
		"P.BES":  wire.Forward,
		"P.BE":   wire.Forward,
		"P.B.S.": wire.Swallow,
		"P.S.BS": wire.Swallow,
	} {
		var r wire.Replies
		talk(t, &r, sent, "")
		if got, err := r.Got('E'); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", sent, got, err, want)
		}
	}
}
