package corpus

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// maxGoldenLine is the longest line of a golden. Runs are folded, so that only
// text without runs counts.
const maxGoldenLine = 1 << 20

// Golden returns the recording of t that was made from PostgreSQL 15, with the
// client's bytes filled in from the transcript. What Normaliser{Version: true}
// blanks is blank in it. fs.ErrNotExist means that none was made yet.
func Golden(t *Transcript) (*Recording, error) {
	f, err := files.Open("testdata/golden/" + t.Name + ".txt")
	if err != nil {
		return nil, err
	}
	return readGolden(t, f)
}

// Goldens loads all transcripts with their goldens, in the order of Load.
func Goldens() ([]*Recording, error) {
	all, err := Load()
	if err != nil {
		return nil, err
	}
	recordings := make([]*Recording, 0, len(all))
	for _, t := range all {
		r, err := Golden(t)
		if err != nil {
			return nil, fmt.Errorf("golden of %s: %w", t.Name, err)
		}
		recordings = append(recordings, r)
	}
	return recordings, nil
}

// readGolden reads what writeGolden wrote.
func readGolden(t *Transcript, r io.Reader) (*Recording, error) {
	rec := &Recording{Name: t.Name}
	part := &rec.Welcome
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxGoldenLine)
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		switch {
		case line == "" || strings.HasPrefix(line, "#") || line == "welcome":
		case strings.HasPrefix(line, "step "):
			if len(rec.Steps) == len(t.Script) {
				return nil, errors.New("more steps than the transcript has")
			}
			rec.Steps = append(rec.Steps, Step{Client: t.Script[len(rec.Steps)].Client})
			part = &rec.Steps[len(rec.Steps)-1].Server
		default:
			var err error
			if *part, err = appendGoldenLine(*part, line); err != nil {
				return nil, fmt.Errorf("line %d: %w", n, err)
			}
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(rec.Steps) != len(t.Script) {
		return nil, fmt.Errorf("%d steps, the transcript has %d", len(rec.Steps), len(t.Script))
	}
	return rec, nil
}

// appendGoldenLine adds the messages of one line: a type byte, perhaps *N, and
// the body.
func appendGoldenLine(dst []byte, line string) ([]byte, error) {
	head, body, ok := strings.Cut(line, " ")
	if !ok || head == "" {
		return nil, fmt.Errorf("%.20q is not a message", line)
	}
	n, rest, err := repeatCount(head[1:])
	if err != nil || rest != "" {
		return nil, fmt.Errorf("%.20q is not a message", line)
	}
	text, rest, err := quotedSum(body)
	if err != nil || rest != "" {
		return nil, fmt.Errorf("%.20q is not a message", line)
	}
	if n*len(text) > maxRepeat {
		return nil, fmt.Errorf("%d messages of %d bytes", n, len(text))
	}
	return append(dst, bytes.Repeat(message(head[0], []byte(text)), n)...), nil
}

// writeGolden writes a recording as text, one line a message.
func writeGolden(w io.Writer, t *Transcript, r *Recording, norm Normaliser) error {
	out := bufio.NewWriter(w)
	fmt.Fprintf(out, "welcome\n%s", goldenLines(norm.Stream(r.Welcome)))
	for i, s := range r.Steps {
		fmt.Fprintf(out, "step %d, %v\n%s", i+1, t.Script[i].Wait, goldenLines(norm.Stream(s.Server)))
	}
	return out.Flush()
}

func goldenLines(stream []byte) string {
	var out strings.Builder
	ms := Messages(stream)
	for i := 0; i < len(ms); {
		n := 1
		for i+n < len(ms) && ms[i+n].Type == ms[i].Type && bytes.Equal(ms[i+n].Body, ms[i].Body) {
			n++
		}
		out.WriteByte(ms[i].Type)
		if n > 1 {
			out.WriteString("*" + strconv.Itoa(n))
		}
		out.WriteString(" " + quoteRuns(ms[i].Body) + "\n")
		i += n
	}
	return out.String()
}
