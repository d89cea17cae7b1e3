package proxy

import "github.com/pgvip/pgvip/pool"

// Where a server is shared, what a client leaves in its session would be the next
// one's. PostgreSQL reports some of it (ParameterStatus), of the rest only the
// text of a statement tells, before it runs. What is found here is taken as made:
// a false alarm costs a reset, nothing else. What functions do inside is not seen.

// hint is what the text of a Query or Parse says.
type hint struct {
	state  pool.State // that it may leave behind
	begins bool       // its first statement opens a transaction block
}

// inspect looks at a text. tracks reports the parameters whose values the server
// reports: they are followed, and setting them leaves nothing behind.
func inspect(text []byte, tracks func(name string) bool) hint {
	in := inspector{lexer: lexer{text: text}, tracks: tracks}
	for first := true; ; first = false {
		word := in.next()
		if word == nil {
			return in.hint
		}
		if first {
			in.begins = is(word, "begin") || is(word, "start")
		}
		in.statement(word)
	}
}

type inspector struct {
	lexer
	hint
	tracks func(string) bool
}

// statement reads one statement, whose first word has been read, to its end.
func (in *inspector) statement(word []byte) {
	switch {
	case is(word, "set"):
		in.set()
	case is(word, "listen"):
		in.state |= pool.StateListen
	case is(word, "load"):
		in.state |= pool.StateLibrary
	case is(word, "prepare"):
		if next := in.next(); !is(next, "transaction") {
			in.state |= pool.StatePrepared
		}
	case is(word, "create"):
		in.create()
	case is(word, "do"):
		in.code = true
	}
	in.rest(word)
	in.code = false
}

// rest looks for what may stand anywhere in a statement.
func (in *inspector) rest(before []byte) {
	for {
		word := in.next()
		if word == nil || word[0] == ';' {
			return
		}
		in.anywhere(before, word)
		before = word
	}
}

// anywhere judges a word by its first letter, because nearly all are nothing.
func (in *inspector) anywhere(before, word []byte) {
	switch word[0] | 0x20 {
	case 's':
		if is(word, "set_config") && !in.local() {
			in.state |= pool.StateSettings
		}
	case 'p':
		if is(word, "pg_advisory_lock") || is(word, "pg_advisory_lock_shared") ||
			is(word, "pg_try_advisory_lock") || is(word, "pg_try_advisory_lock_shared") {
			in.state |= pool.StateLocks
		}
		if is(word, "pg_temp") {
			in.state |= pool.StateTemp
		}
	case 't':
		if (is(word, "temp") || is(word, "temporary")) && is(before, "into") {
			in.state |= pool.StateTemp
		}
	case 'h':
		if is(word, "hold") && is(before, "with") {
			in.state |= pool.StateCursors
		}
	}
}

// create reads CREATE [OR REPLACE] [GLOBAL | LOCAL] TEMP.
func (in *inspector) create() {
	for range 4 {
		at := in.at
		word := in.next()
		switch {
		case is(word, "temp"), is(word, "temporary"):
			if !in.dropsOnCommit() {
				in.state |= pool.StateTemp
			}
			return
		case is(word, "or"), is(word, "replace"), is(word, "global"), is(word, "local"):
		default:
			in.at = at
			return
		}
	}
}

// dropsOnCommit looks ahead for ON COMMIT DROP.
func (in *inspector) dropsOnCommit() bool {
	look := in.lexer
	for word := look.next(); word != nil && word[0] != ';'; word = look.next() {
		if is(word, "commit") {
			return is(look.next(), "drop")
		}
	}
	return false
}

// local looks ahead for the third argument of set_config being true.
func (in *inspector) local() bool {
	look := in.lexer
	depth, commas, last := 0, 0, []byte(nil)
	for word := look.next(); word != nil; word = look.next() {
		switch {
		case word[0] == '(' || word[0] == '[':
			depth++
		case word[0] == ')' || word[0] == ']':
			if depth--; depth <= 0 {
				return commas == 2 && is(last, "true")
			}
		case word[0] == ',' && depth == 1:
			commas++
		}
		last = word
	}
	return false
}

// set reads what follows SET.
func (in *inspector) set() {
	word := in.next()
	if is(word, "session") {
		word = in.next()
		if is(word, "characteristics") || is(word, "authorization") {
			in.state |= pool.StateSettings
			return
		}
	}
	switch {
	case is(word, "local"), is(word, "transaction"), is(word, "constraints"):
	case is(word, "time"), is(word, "names"):
		// TimeZone and client_encoding, which are reported.
	case word == nil || word[0] == ';' || in.quoted(word) || !in.tracks(string(word)):
		in.state |= pool.StateSettings
	}
}

// quoted reports a name in quotes, or one of several parts.
func (in *inspector) quoted(word []byte) bool {
	look := in.lexer
	next := look.next()
	return word[0] == '"' || len(next) == 1 && next[0] == '.'
}
