package null

import (
	"strconv"
	"strings"
)

// guesses maps what a select item looks like to its value; the first needle
// that is found wins, so the longer ones stand first. They are what poolers and
// their health probes ask before they let a client in.
var guesses = []struct {
	needle string // in lower case
	oid    uint32
	text   string
}{
	{"not pg_is_in_recovery()", oidBool, "t"},
	{"pg_is_in_recovery()", oidBool, "f"},
	{"pg_wal_lsn_diff", oidInt8, "16777216"},
	{"pg_last_", oidText, ""},
	{"pg_control_system", oidInt8, SystemID},
	{"system_identifier", oidInt8, SystemID},
	{"pg_control_checkpoint", oidInt4, "1"},
	{"timeline_id", oidInt4, "1"},
	{"substr(pg_walfile_name", oidText, "00000001"},
	{"left(pg_walfile_name", oidText, "00000001"},
	{"pg_walfile_name", oidText, "000000010000000000000001"},
	{"pg_current_wal", oidText, "0/1000000"},
	{"in_hot_standby", oidText, "off"},
	{"read_only", oidText, "off"},
	{"server_version_num", oidText, "150000"},
	{"version()", oidText, "PostgreSQL 15.0 (null)"},
	{"reserved_connections", oidText, "3"},
	{"max_connections", oidText, "1000"},
	{"count(", oidInt8, "1"},
	{"current_user", oidText, "postgres"},
	{"session_user", oidText, "postgres"},
	{"current_database", oidText, "postgres"},
}

// guess is the column that an item of a select list becomes: a literal becomes
// itself, what is known its usual value, anything else the number 1. An alias
// that the FROM clause makes is looked up there.
func guess(item, sql string) field {
	item = normal(item)
	if text, ok := strings.CutPrefix(item, "'"); ok {
		text, _, _ = strings.Cut(text, "'")
		return field{name: "?column?", oid: oidText, text: text}
	}
	if item == "null" {
		return field{name: "?column?", oid: oidText, null: true}
	}
	if _, err := strconv.ParseInt(item, 10, 32); err == nil {
		return field{name: "?column?", oid: oidInt4, text: item}
	}
	for _, g := range guesses {
		if strings.Contains(item, g.needle) || strings.Contains(normal(sql), g.needle+" as "+item+")") {
			return field{name: "guess", oid: g.oid, text: g.text, null: g.text == ""}
		}
	}
	return field{name: "?column?", oid: oidInt4, text: "1"}
}

// normal is SQL as the needles are written.
func normal(sql string) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimSpace(sql)), "pg_catalog.", "")
}

// selectList splits what stands between SELECT and a FROM outside parentheses
// and quotes at its commas.
func selectList(sql string) []string {
	sql = strings.TrimRight(strings.TrimSpace(sql), "; ")
	if len(sql) >= len("SELECT") {
		sql = sql[len("SELECT"):]
	}
	var (
		items []string
		depth int
		quote bool
		start int
	)
	for i := range len(sql) {
		switch ch := sql[i]; {
		case ch == '\'':
			quote = !quote
		case quote:
		case ch == '(':
			depth++
		case ch == ')':
			depth--
		case depth == 0 && ch == ',':
			items = append(items, sql[start:i])
			start = i + 1
		case depth == 0 && fromAt(sql, i):
			return append(items, sql[start:i])
		}
	}
	return append(items, sql[start:])
}

// fromAt reports whether the word FROM stands at i.
func fromAt(sql string, i int) bool {
	const word = "FROM"
	if i == 0 || i+len(word) >= len(sql) || !strings.EqualFold(sql[i:i+len(word)], word) {
		return false
	}
	return isSpace(sql[i-1]) && isSpace(sql[i+len(word)])
}

func isSpace(ch byte) bool { return ch == ' ' || ch == '\n' || ch == '\t' || ch == '\r' }

// statements splits a simple query at semicolons outside quotes. One statement,
// the usual case, comes back as it is and costs nothing.
func statements(sql []byte, each func(one []byte)) {
	start, quote := 0, false
	for i, ch := range sql {
		switch {
		case ch == '\'':
			quote = !quote
		case ch == ';' && !quote:
			if !blank(sql[start:i]) {
				each(sql[start:i])
			}
			start = i + 1
		}
	}
	if start == 0 || !blank(sql[start:]) {
		each(sql[start:])
	}
}

func blank(b []byte) bool {
	for _, ch := range b {
		if !isSpace(ch) {
			return false
		}
	}
	return true
}
