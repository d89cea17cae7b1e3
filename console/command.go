package console

import (
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// Verb is what a command does.
type Verb string

// Verbs: what PgBouncer knows, and what drivers send by themselves.
const (
	Empty      Verb = "" // nothing, or only a comment
	Show       Verb = "SHOW"
	Set        Verb = "SET"
	Pause      Verb = "PAUSE"
	Resume     Verb = "RESUME"
	Suspend    Verb = "SUSPEND"
	Reconnect  Verb = "RECONNECT"
	Kill       Verb = "KILL"
	KillClient Verb = "KILL_CLIENT"
	Disable    Verb = "DISABLE"
	Enable     Verb = "ENABLE"
	WaitClose  Verb = "WAIT_CLOSE"
	Reload     Verb = "RELOAD"
	Shutdown   Verb = "SHUTDOWN"

	// Ours: what operators want of a server of the cluster.
	Ready Verb = "READY"
	Drain Verb = "DRAIN"
	Maint Verb = "MAINT"

	Begin    Verb = "BEGIN"
	Commit   Verb = "COMMIT"
	Rollback Verb = "ROLLBACK"
	Forget   Verb = "DISCARD" // of session state, of which there is none
)

// Command is one parsed command.
type Command struct {
	Verb  Verb
	Arg   string // a name, a number, a mode; of SHOW what to show, of SET the key; as written
	Value string // of SET
	Tag   string // of the verbs that only drivers send: what PostgreSQL says to them

	text string // as it came, for error messages
}

// arity says what may follow a verb.
type arity uint8

const (
	alone    arity = iota
	optional       // one word, or none
)

// grammar holds the verbs that are followed by a word at most, in lower case.
// DISABLE, ENABLE, KILL_CLIENT and those about servers say themselves that they
// lack one.
var grammar = map[string]struct {
	verb Verb
	args arity
}{
	"show":        {Show, optional},
	"select":      {Show, optional},
	"pause":       {Pause, optional},
	"resume":      {Resume, optional},
	"suspend":     {Suspend, alone},
	"reconnect":   {Reconnect, optional},
	"kill":        {Kill, optional},
	"kill_client": {KillClient, optional},
	"disable":     {Disable, optional},
	"enable":      {Enable, optional},
	"wait_close":  {WaitClose, optional},
	"reload":      {Reload, alone},
	"shutdown":    {Shutdown, optional},
	"ready":       {Ready, optional},
	"drain":       {Drain, optional},
	"maint":       {Maint, optional},
}

// courtesies are statements that drivers and their pools send unasked. The rest of
// such a statement is not looked at.
var courtesies = map[string]Command{
	"begin":      {Verb: Begin, Tag: "BEGIN"},
	"start":      {Verb: Begin, Tag: "START TRANSACTION"},
	"commit":     {Verb: Commit, Tag: "COMMIT"},
	"end":        {Verb: Commit, Tag: "COMMIT"},
	"rollback":   {Verb: Rollback, Tag: "ROLLBACK"},
	"abort":      {Verb: Rollback, Tag: "ROLLBACK"},
	"discard":    {Verb: Forget, Tag: "DISCARD ALL"},
	"deallocate": {Verb: Forget, Tag: "DEALLOCATE ALL"},
	"reset":      {Verb: Forget, Tag: "RESET"},
	"unlisten":   {Verb: Forget, Tag: "UNLISTEN"},
	"close":      {Verb: Forget, Tag: "CLOSE CURSOR ALL"},
}

// Parse reads one command. The error is PgBouncer's, with a true SQLSTATE.
func Parse(sql string) (Command, error) {
	list, ok := tokens(sql)
	if n := len(list); n > 0 && list[n-1] == (token{tokenSign, ";"}) {
		list = list[:n-1]
	}
	switch {
	case !ok:
		return Command{}, syntaxError(sql)
	case len(list) == 0:
		return Command{}, nil
	case !list[0].isName() || slicesHas(list, ";"):
		return Command{}, syntaxError(sql)
	}
	first := strings.ToLower(list[0].text)
	if c, ok := courtesies[first]; ok {
		return c, nil
	}
	if first == "set" {
		return parseSet(sql, list[1:])
	}
	g, known := grammar[first]
	switch {
	case !known, len(list) > 2, len(list) == 2 && (g.args == alone || !list[1].isName()):
		return Command{}, syntaxError(sql)
	case len(list) == 1:
		return Command{Verb: g.verb, text: sql}, nil
	}
	return Command{Verb: g.verb, Arg: list[1].text, text: sql}, nil
}

// parseSet reads what follows SET: key = value, or key TO value. Statements about
// transactions, which begin with SET as well, are courtesies.
func parseSet(sql string, list []token) (Command, error) {
	if len(list) > 1 && list[0].kind == tokenWord {
		switch first, second := strings.ToLower(list[0].text), strings.ToLower(list[1].text); {
		case first == "transaction", first == "session" && second == "characteristics":
			return Command{Verb: Forget, Tag: "SET"}, nil
		case first == "session" || first == "local":
			list = list[1:]
		}
	}
	if len(list) != 3 || !list[0].isName() || !list[1].assigns() || list[2].kind == tokenSign {
		return Command{}, syntaxError(sql)
	}
	return Command{Verb: Set, Arg: list[0].text, Value: list[2].text}, nil
}

func (t token) isName() bool { return t.kind == tokenWord || t.kind == tokenQuoted }

func (t token) assigns() bool {
	return t == token{tokenSign, "="} || t.kind == tokenWord && strings.EqualFold(t.text, "to")
}

// slicesHas reports whether a sign is among the tokens.
func slicesHas(list []token, sign string) bool {
	for _, t := range list {
		if t == (token{tokenSign, sign}) {
			return true
		}
	}
	return false
}

// syntaxError is PgBouncer's answer to whatever it does not know.
func syntaxError(sql string) *wire.Error {
	return refuse(wire.CodeSyntaxError, "invalid command '"+sql+"', use SHOW HELP;", "")
}

// refuse makes an error after which the console goes on.
func refuse(code, message, hint string) *wire.Error {
	return &wire.Error{Severity: wire.SeverityError, Code: code, Message: message, Hint: hint}
}
