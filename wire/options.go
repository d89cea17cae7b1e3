package wire

import "strings"

// CodeSyntaxError is what PostgreSQL answers to command-line switches that it
// cannot read.
const CodeSyntaxError = "42601"

// The switches of the postgres program, as getopt(3) sees them: those that
// stand alone and those that take an argument.
const (
	flagSwitches     = "bEeFijlnOPsT"
	argumentSwitches = "BCDdfhkNprStvW"
)

// ParseOptions takes apart the "options" parameter of a startup packet, which
// is a piece of the server's command line. Settings (-c name=value,
// --name=value) come back in params, in order and with dashes in names turned
// into underscores; everything else (-e, -S 64, stray words) in rest, one
// element a word, for the server to judge.
//
// Words are split at white space unless a backslash stands before it. Settings
// in options are applied before those of the packet's other parameters. A
// setting without a value is an *Error with PostgreSQL's own text; one without a
// name, which no startup packet could carry, is left in rest.
func ParseOptions(options string) (params []Param, rest []string, err error) {
	words := splitOptions(options)
	for len(words) > 0 {
		word := words[0]
		words = words[1:]
		switch {
		case word == "--":
			// The end of the switches; PostgreSQL refuses what stands behind it.
			return params, append(append(rest, word), words...), nil
		case strings.HasPrefix(word, "--"):
			p, ok := cutSetting(word[2:])
			switch {
			case !ok:
				return nil, nil, errNoValue("--" + word[2:])
			case p.Name == "":
				rest = append(rest, word)
			default:
				params = append(params, p)
			}
		case len(word) > 1 && word[0] == '-':
			group := readGroup(word, words)
			if group.err != nil {
				return nil, nil, group.err
			}
			params = append(params, group.params...)
			rest = append(rest, group.rest...)
			words = words[group.taken:]
		default:
			rest = append(rest, word)
		}
	}
	return params, rest, nil
}

// switchGroup is what one word of short switches held: "-e", "-ca=b", "-ec".
type switchGroup struct {
	params []Param
	rest   []string
	taken  int // following words used up as an argument: 0 or 1
	err    error
}

// readGroup reads the switches of word by the rules of getopt(3): flags may be
// joined, and the argument of a switch is the rest of its word, or else the
// next word.
func readGroup(word string, following []string) (g switchGroup) {
	for i := 1; i < len(word); i++ {
		letter := word[i : i+1]
		if strings.Contains(flagSwitches, letter) {
			g.rest = append(g.rest, "-"+letter)
			continue
		}
		setting := letter == "c" || letter == "-"
		if !setting && !strings.Contains(argumentSwitches, letter) {
			// Not a switch of any version known here.
			g.rest = append(g.rest, "-"+word[i:])
			return g
		}
		argument := word[i+1:]
		if argument == "" && len(following) > 0 {
			argument, g.taken = following[0], 1
		}
		missing := argument == "" && g.taken == 0
		switch p, ok := cutSetting(argument); {
		case !setting || missing || ok && p.Name == "":
			g.rest = append(g.rest, "-"+word[i:])
			g.rest = append(g.rest, following[:g.taken]...)
		case ok:
			g.params = append(g.params, p)
		default:
			g.err = errNoValue("-" + letter + " " + argument)
		}
		return g
	}
	return g
}

// cutSetting splits name=value. The name is not checked: the server knows which
// settings it has.
func cutSetting(s string) (Param, bool) {
	name, value, ok := strings.Cut(s, "=")
	return Param{Name: strings.ReplaceAll(name, "-", "_"), Value: value}, ok
}

// FormatOptions is the inverse of ParseOptions: an "options" value that says
// the settings in params, then the words in rest.
func FormatOptions(params []Param, rest []string) string {
	var b strings.Builder
	for _, p := range params {
		writeWord(&b, "-c")
		writeWord(&b, p.Name+"="+p.Value)
	}
	for _, word := range rest {
		writeWord(&b, word)
	}
	return b.String()
}

func writeWord(b *strings.Builder, word string) {
	if b.Len() > 0 {
		b.WriteByte(' ')
	}
	for i := range len(word) {
		if isSpace(word[i]) || word[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(word[i])
	}
	if word == "" {
		// An escape with nothing behind it is how an empty word is written; it
		// can only stand last.
		b.WriteByte('\\')
	}
}

// splitOptions splits at white space like PostgreSQL's pg_split_opts: a
// backslash takes the next byte as it is, and one at the very end is dropped.
func splitOptions(options string) []string {
	var words []string
	for i := 0; ; {
		for i < len(options) && isSpace(options[i]) {
			i++
		}
		if i == len(options) {
			return words
		}
		var word []byte
		for ; i < len(options) && !isSpace(options[i]); i++ {
			if options[i] == '\\' {
				if i++; i == len(options) {
					break
				}
			}
			word = append(word, options[i])
		}
		words = append(words, string(word))
	}
}

// isSpace is isspace(3) in the C locale.
func isSpace(c byte) bool {
	return c == ' ' || c >= '\t' && c <= '\r'
}

func errNoValue(what string) *Error {
	return Fatal(CodeSyntaxError, what+" requires a value", "")
}
