package corpus

import (
	"bufio"
	"embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
)

//go:embed testdata
var files embed.FS

// Tags a transcript may carry.
const (
	TagPrimary = "primary" // needs a node that accepts writes
	TagAlone   = "alone"   // must not run beside itself
	TagState   = "state"   // needs what outlives a transaction and is not reported
)

// Param is one parameter of a startup packet.
type Param struct {
	Name  string
	Value string
}

// Transcript is what a client says on one connection after its login.
type Transcript struct {
	Name    string
	File    string
	Tags    []string
	Startup []Param // besides user and database
	Script  []Batch
}

// Batch is what is sent without waiting, and what is waited for then.
type Batch struct {
	Client []byte
	Starts []int // offsets in Client at which a message begins
	Cut    bool  // half-close after Client
	Wait   Wait
	Line   int // of the wait, for messages
}

// Wait is a barrier: Count messages of type Type, or the end of the stream, or
// nothing at all.
type Wait struct {
	Type    byte
	Count   int
	Row     string // count from the DataRow on that has this text
	EOF     bool
	Nothing bool
}

// String gives the barrier as it is written in a transcript.
func (w Wait) String() string {
	switch {
	case w.EOF:
		return "wait eof"
	case w.Nothing:
		return "wait nothing"
	case w.Row != "":
		return fmt.Sprintf("wait row %q %c", w.Row, w.Type)
	}
	return fmt.Sprintf("wait %c %d", w.Type, w.Count)
}

// Has reports whether the transcript carries tag.
func (t *Transcript) Has(tag string) bool {
	return slices.Contains(t.Tags, tag)
}

// Reusable reports whether the connection outlives the transcript, so that the
// transcript can be played again on it after DISCARD ALL.
func (t *Transcript) Reusable() bool {
	return t.implicitEnd()
}

func (t *Transcript) implicitEnd() bool {
	last := t.Script[len(t.Script)-1]
	return last.Line == 0
}

// Kept returns the transcript with DISCARD ALL in place of its Terminate: the
// connection stays open, and what was left in it shows as a difference.
func (t *Transcript) Kept() *Transcript {
	kept := *t
	reset := Batch{Client: message('Q', []byte("DISCARD ALL\x00")), Starts: []int{0}, Wait: Wait{Type: 'Z', Count: 1}}
	kept.Script = append(slices.Clone(t.Script[:len(t.Script)-1]), reset)
	return &kept
}

// Load reads all transcripts of the corpus, ordered by file and place. The
// result is the caller's.
func Load() ([]*Transcript, error) {
	names, err := fs.Glob(files, "testdata/transcripts/*.txt")
	if err != nil {
		return nil, err
	}
	var all []*Transcript
	for _, name := range names {
		f, err := files.Open(name)
		if err != nil {
			return nil, err
		}
		ts, err := Parse(path.Base(name), f)
		if err != nil {
			return nil, err
		}
		all = append(all, ts...)
	}
	return all, uniqueNames(all)
}

func uniqueNames(all []*Transcript) error {
	seen := make(map[string]string, len(all))
	for _, t := range all {
		if other, ok := seen[t.Name]; ok {
			return fmt.Errorf("transcript %s: in %s and in %s", t.Name, other, t.File)
		}
		seen[t.Name] = t.File
	}
	return nil
}

// Parse reads the transcripts of one file; file is its name in messages.
func Parse(file string, r io.Reader) ([]*Transcript, error) {
	p := parser{file: file}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		p.line++
		if err := p.instruction(lines.Text()); err != nil {
			return nil, fmt.Errorf("%s:%d: %w", file, p.line, err)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if err := p.endTranscript(); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return p.done, nil
}

// parser holds the transcript under construction.
type parser struct {
	file string
	line int
	done []*Transcript

	current *Transcript
	batch   Batch

	// A times block: its lines are run again at its end.
	repeat int
	block  []string
}

func (p *parser) instruction(line string) error {
	line = strings.TrimSpace(line)
	if line == "" || strings.HasPrefix(line, "#") {
		return nil
	}
	if p.repeat > 0 && line != "end" {
		p.block = append(p.block, line)
		return nil
	}
	words, err := splitWords(line)
	if err != nil {
		return err
	}
	verb, args := words[0].text, words[1:]
	if verb == "transcript" {
		return p.beginTranscript(args)
	}
	if p.current == nil {
		return errors.New("before the first transcript")
	}
	switch verb {
	case "startup":
		return p.startup(args)
	case "times":
		return p.beginTimes(args)
	case "end":
		return p.endTimes()
	case "cut":
		p.batch.Cut = true
		return nil
	case "wait":
		return p.wait(args)
	}
	return p.clientMessage(verb, args)
}

func (p *parser) beginTranscript(args []word) error {
	if err := p.endTranscript(); err != nil {
		return err
	}
	if len(args) == 0 {
		return errors.New("transcript without a name")
	}
	p.current = &Transcript{Name: args[0].text, File: p.file}
	for _, tag := range args[1:] {
		if !slices.Contains([]string{TagPrimary, TagAlone, TagState}, tag.text) {
			return fmt.Errorf("unknown tag %q", tag.text)
		}
		p.current.Tags = append(p.current.Tags, tag.text)
	}
	return nil
}

// endTranscript closes the current transcript, with a Terminate unless it
// already waits for the server to close.
func (p *parser) endTranscript() error {
	t := p.current
	if t == nil {
		return nil
	}
	if len(p.batch.Client) > 0 || p.repeat > 0 {
		return fmt.Errorf("transcript %s: ends without a wait or inside times", t.Name)
	}
	if n := len(t.Script); n == 0 || !t.Script[n-1].Wait.EOF {
		t.Script = append(t.Script, Batch{Client: message('X', nil), Starts: []int{0}, Wait: Wait{EOF: true}})
	}
	p.done = append(p.done, t)
	p.current = nil
	return nil
}

func (p *parser) startup(args []word) error {
	if len(args) != 2 {
		return fmt.Errorf("startup takes a name and a value, has %d words", len(args))
	}
	p.current.Startup = append(p.current.Startup, Param{Name: args[0].text, Value: args[1].text})
	return nil
}

func (p *parser) beginTimes(args []word) error {
	if len(args) != 1 {
		return errors.New("times takes a count")
	}
	n, err := strconv.Atoi(args[0].text)
	if err != nil || n < 1 {
		return fmt.Errorf("times %s: not a count", args[0].text)
	}
	p.repeat = n
	return nil
}

func (p *parser) endTimes() error {
	if p.repeat == 0 {
		return errors.New("end without times")
	}
	n, block := p.repeat, p.block
	p.repeat, p.block = 0, nil
	for range n {
		for _, line := range block {
			if err := p.instruction(line); err != nil {
				return fmt.Errorf("in times: %w", err)
			}
		}
	}
	return nil
}

func (p *parser) wait(args []word) error {
	w, err := parseWait(args)
	if err != nil {
		return err
	}
	p.batch.Wait, p.batch.Line = w, p.line
	p.current.Script = append(p.current.Script, p.batch)
	p.batch = Batch{}
	return nil
}

// parseWait reads what stands behind wait.
func parseWait(args []word) (w Wait, err error) {
	w.Count = 1
	switch {
	case len(args) == 1 && args[0].text == "eof":
		w.EOF = true
		return w, nil
	case len(args) == 1 && args[0].text == "nothing":
		w.Nothing = true
		return w, nil
	case len(args) == 3 && args[0].text == "row":
		w.Row, args = args[1].text, args[2:]
	}
	if len(args) == 0 || len(args) > 2 || len(args[0].text) != 1 {
		return w, errors.New("wait takes a message type and a count, row and a text and a type, eof or nothing")
	}
	w.Type = args[0].text[0]
	if len(args) == 2 {
		if w.Count, err = strconv.Atoi(args[1].text); err != nil || w.Count < 1 {
			return w, fmt.Errorf("wait %s %s: not a count", args[0].text, args[1].text)
		}
	}
	return w, nil
}

func (p *parser) clientMessage(verb string, args []word) error {
	encode, ok := encoders[verb]
	if !ok {
		return fmt.Errorf("unknown instruction %q", verb)
	}
	if p.batch.Cut {
		return errors.New("a message after cut")
	}
	msg, err := encode(args)
	if err != nil {
		return err
	}
	p.batch.Starts = append(p.batch.Starts, len(p.batch.Client))
	p.batch.Client = append(p.batch.Client, msg...)
	return nil
}
