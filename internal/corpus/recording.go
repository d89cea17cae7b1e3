package corpus

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Step is one exchange: what the client sent, and all bytes the server sent up
// to the message the client waited for.
type Step struct {
	Client []byte
	Server []byte
}

// Recording is what one transcript gave: the bytes of both directions in the
// order in which they were exchanged.
type Recording struct {
	Name string

	// Welcome is what the server sends after AuthenticationOk up to the first
	// ReadyForQuery: ParameterStatus, BackendKeyData, ReadyForQuery.
	Welcome []byte
	Steps   []Step
}

// Message is one server message.
type Message struct {
	Type byte
	Body []byte

	// Broken marks the rest of a stream that is no whole message: Body is all
	// of it.
	Broken bool
}

// String shows the message as a golden has it, cut to a line's length.
func (m Message) String() string {
	const line = 200
	s := quoteRuns(m.Body)
	if len(s) > line {
		s = fmt.Sprintf("%s... (%d bytes)", s[:line], len(m.Body))
	}
	if m.Broken {
		return "broken " + s
	}
	return string(rune(m.Type)) + " " + s
}

// Messages cuts a server stream into messages, the last of which may be Broken.
func Messages(stream []byte) []Message {
	var all []Message
	for len(stream) > 0 {
		if len(stream) < 5 {
			return append(all, Message{Body: stream, Broken: true})
		}
		n := uint64(binary.BigEndian.Uint32(stream[1:5]))
		if n < 4 || n+1 > uint64(len(stream)) {
			return append(all, Message{Body: stream, Broken: true})
		}
		all = append(all, Message{Type: stream[0], Body: stream[5 : n+1]})
		stream = stream[n+1:]
	}
	return all
}

// Difference is the first place where two recordings part.
type Difference struct {
	Name   string
	Step   int // 0 is the welcome, 1 the first batch
	Index  int // of the message in its step
	Got    string
	Want   string
	Before []string // messages before it that were equal, at most 3
}

// Error says what differs, with what came before it.
func (d *Difference) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "transcript %s: step %d, message %d:\n", d.Name, d.Step, d.Index)
	for _, m := range d.Before {
		fmt.Fprintf(&b, "\t  same %s\n", m)
	}
	fmt.Fprintf(&b, "\t  got  %s\n\t  want %s", d.Got, d.Want)
	return b.String()
}

// Compare returns nil or the first *Difference between two recordings of one
// transcript, after norm has blanked in both what may differ (rule 20). The
// barriers are part of it: a message that comes a step early is a difference.
func Compare(got, want *Recording, norm Normaliser) error {
	if d := compareStreams(norm, got.Welcome, want.Welcome); d != nil {
		d.Name = want.Name
		return d
	}
	for i := range max(len(got.Steps), len(want.Steps)) {
		var g, w []byte
		if i < len(got.Steps) {
			g = got.Steps[i].Server
		}
		if i < len(want.Steps) {
			w = want.Steps[i].Server
		}
		if d := compareStreams(norm, g, w); d != nil {
			d.Name, d.Step = want.Name, i+1
			return d
		}
	}
	return nil
}

func compareStreams(norm Normaliser, got, want []byte) *Difference {
	if bytes.Equal(got, want) {
		return nil
	}
	const context = 3
	gs, ws := Messages(norm.Stream(got)), Messages(norm.Stream(want))
	for i := range max(len(gs), len(ws)) {
		g, w := "nothing", "nothing"
		if i < len(gs) {
			g = gs[i].String()
		}
		if i < len(ws) {
			w = ws[i].String()
		}
		if i < len(gs) && i < len(ws) && gs[i].Type == ws[i].Type && gs[i].Broken == ws[i].Broken && bytes.Equal(gs[i].Body, ws[i].Body) {
			continue
		}
		d := &Difference{Index: i, Got: g, Want: w}
		for _, m := range ws[max(0, i-context):min(i, len(ws))] {
			d.Before = append(d.Before, m.String())
		}
		return d
	}
	return nil
}
