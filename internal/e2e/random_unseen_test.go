package e2e

import (
	"bytes"
	"encoding/binary"
	"errors"

	"github.com/pgvip/pgvip/internal/corpus"
)

// Where servers are shared one answer may be another than PostgreSQL's
// (docs/architecture.md, "Prepared statements"): in a failed transaction, of a
// statement that this server lacks and nobody has described, or that returns rows.
// What comes of it is then the refusal to parse it: 25P02, of that very routine.

// compare is corpus.Compare, but for that one answer. Where PostgreSQL's is an error
// as well, all that follows is the same, and is compared. Else the two part here, and
// cut counts it.
func (r *randomRun) compare(got, want *corpus.Recording) error {
	for {
		err := corpus.Compare(got, want, corpus.Normaliser{})
		var d *corpus.Difference
		if !r.shared || !errors.As(err, &d) || d.Step == 0 || d.Step > min(len(got.Steps), len(want.Steps)) {
			return err
		}
		g, w := corpus.Messages(got.Steps[d.Step-1].Server), corpus.Messages(want.Steps[d.Step-1].Server)
		if d.Index >= min(len(g), len(w)) || !inFailed(want, d) || !refusesToParse(g[d.Index]) {
			return err
		}
		switch m := w[d.Index]; {
		case m.Type == 't':
			r.cut.Add(1)
			return nil
		case m.Type == 'E' && failsUse(m):
			g[d.Index] = m
			got.Steps[d.Step-1].Server = joined(g)
			r.excused.Add(1)
		default:
			return err
		}
	}
}

// inFailed reports that the last ReadyForQuery before a difference told of a failed
// transaction.
func inFailed(want *corpus.Recording, d *corpus.Difference) bool {
	status := byte(0)
	for i, s := range want.Steps[:d.Step] {
		for j, m := range corpus.Messages(s.Server) {
			if i == d.Step-1 && j >= d.Index {
				break
			}
			if m.Type == 'Z' {
				status = m.Body[0]
			}
		}
	}
	return status == 'E'
}

// refusesToParse reports the one error that may take the place of another answer.
func refusesToParse(m corpus.Message) bool {
	return m.Type == 'E' && has(m, "C25P02") && has(m, "Rexec_parse_message")
}

// failsUse reports an error of a Bind or Describe in whose place it may come.
func failsUse(m corpus.Message) bool {
	if has(m, "C25P02") {
		return has(m, "Rexec_bind_message") || has(m, "Rexec_describe_statement_message")
	}
	return has(m, "C08P01") && bytes.Contains(m.Body, []byte("\x00Mbind message supplies "))
}

// has reports a whole field of an ErrorResponse.
func has(m corpus.Message, field string) bool {
	return bytes.Contains(m.Body, []byte("\x00"+field+"\x00"))
}

// joined is the stream of messages.
func joined(messages []corpus.Message) []byte {
	var b []byte
	for _, m := range messages {
		if !m.Broken {
			b = binary.BigEndian.AppendUint32(append(b, m.Type), uint32(len(m.Body)+4))
		}
		b = append(b, m.Body...)
	}
	return b
}
