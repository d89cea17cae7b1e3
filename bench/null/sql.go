package null

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
)

// maxResult bounds one canned result, so that a typing error in a benchmark's
// script does not eat the machine.
const maxResult = 16 << 20

// selectBalance is what pgbench -S sends; its answer is found before any other
// and costs no allocation.
var selectBalance = []byte("SELECT abalance FROM")

var balance = (&reply{
	tag: "SELECT 1", rows: 1,
	fields: []field{{name: "abalance", oid: oidInt4, text: "0"}},
}).encode()

// answer finds the reply to one statement. Results of null_rows are kept by
// the connection, because building one costs more than sending it.
func (c *conn) answer(sql []byte) *reply {
	if bytes.HasPrefix(sql, selectBalance) {
		return balance
	}
	if r, ok := c.known[string(sql)]; ok {
		return r
	}
	r := c.build(strings.TrimSpace(string(sql)))
	// SHOW depends on the session; everything else is the same each time.
	if r.tag != "SHOW" {
		if len(c.known) >= maxKnown {
			clear(c.known)
		}
		c.known[string(sql)] = r
	}
	return r
}

// build makes the reply to a statement by its first word. Anything unknown is a
// command that succeeds, with its first words as the tag: CREATE TABLE.
func (c *conn) build(sql string) *reply {
	words := strings.Fields(strings.ToUpper(sql))
	if len(words) == 0 {
		return &reply{}
	}
	switch words[0] {
	case "SELECT", "VALUES", "WITH":
		return selectReply(sql)
	case "SHOW":
		return c.showReply(sql)
	case "COPY":
		return copyReply(sql)
	case "SET":
		return setReply(sql)
	case "BEGIN", "START":
		return &reply{tag: "BEGIN", effect: effectBegin}
	case "COMMIT", "END":
		return &reply{tag: "COMMIT", effect: effectEnd}
	case "ROLLBACK", "ABORT":
		return &reply{tag: "ROLLBACK", effect: effectEnd}
	case "RESET":
		return &reply{tag: "RESET", effect: effectReset}
	case "DISCARD":
		return &reply{tag: strings.Join(words, " "), effect: effectDiscard}
	case "DEALLOCATE":
		return &reply{tag: "DEALLOCATE ALL", effect: effectDeallocate}
	case "INSERT":
		return &reply{tag: "INSERT 0 1"}
	case "UPDATE", "DELETE", "MERGE":
		return &reply{tag: words[0] + " 1"}
	}
	return &reply{tag: strings.Join(words[:min(2, len(words))], " ")}
}

// selectReply answers a SELECT by the look of each item of its list.
func selectReply(sql string) *reply {
	if code, ok := call(sql, "null_error"); ok {
		return &reply{effect: effectFail, name: strings.Trim(code, "' ")}
	}
	if rows, field, ok := nullRows(sql); ok {
		return (&reply{tag: fmt.Sprint("SELECT ", rows), rows: rows, fields: field}).encode()
	}
	r := &reply{tag: "SELECT 1", rows: 1, fields: []field{}}
	for _, item := range selectList(sql) {
		r.fields = append(r.fields, guess(item, sql))
	}
	return r.encode()
}

// showReply answers from the session's parameters, else from the guesses.
func (c *conn) showReply(sql string) *reply {
	name := strings.Trim(strings.TrimSpace(sql[len("SHOW"):]), "; \"")
	value := c.param(name)
	for _, g := range guesses {
		if value == "" && strings.Contains(strings.ToLower(name), g.needle) {
			value = g.text
		}
	}
	return (&reply{tag: "SHOW", rows: 1, fields: []field{{name: name, oid: oidText, text: value}}}).encode()
}

// copyReply takes every COPY that does not read STDIN for one to STDOUT.
func copyReply(sql string) *reply {
	if !strings.Contains(strings.ToUpper(sql), "STDIN") {
		rows, fields, ok := nullRows(sql)
		if !ok {
			rows, fields = 1, []field{{text: "0"}}
		}
		r := &reply{tag: fmt.Sprint("COPY ", rows), effect: effectCopyOut, rows: rows, fields: fields}
		return r.encode()
	}
	return &reply{effect: effectCopyIn}
}

// setReply reads SET [SESSION|LOCAL] name {=|TO} value.
func setReply(sql string) *reply {
	r := &reply{tag: "SET", effect: effectSet}
	rest := strings.TrimSpace(sql[len("SET"):])
	for _, scope := range []string{"SESSION ", "LOCAL "} {
		if len(rest) > len(scope) && strings.EqualFold(rest[:len(scope)], scope) {
			rest = strings.TrimSpace(rest[len(scope):])
		}
	}
	at := strings.IndexAny(rest, " =")
	if at < 0 {
		return r
	}
	value := strings.TrimSpace(rest[at:])
	if len(value) > 3 && strings.EqualFold(value[:3], "TO ") {
		value = value[3:]
	}
	r.name = strings.Trim(rest[:at], `"`)
	r.value = strings.Trim(strings.TrimLeft(value, "= "), "'\"; ")
	return r
}

// nullRows reads null_rows(n, bytes) anywhere in sql.
func nullRows(sql string) (rows int, fields []field, ok bool) {
	args, ok := call(sql, "null_rows")
	if !ok {
		return 0, nil, false
	}
	first, second, _ := strings.Cut(args, ",")
	rows, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil || rows < 0 {
		return 0, nil, false
	}
	size, err := strconv.Atoi(strings.TrimSpace(second))
	if err != nil || size < 0 || rows > maxResult || size > maxResult || rows*(size+16) > maxResult {
		return 0, nil, false
	}
	return rows, []field{{name: "null_rows", oid: oidText, text: strings.Repeat("x", size)}}, true
}

// call finds name(args) in sql and returns args.
func call(sql, name string) (args string, ok bool) {
	_, after, ok := strings.Cut(strings.ToLower(sql), name+"(")
	if !ok {
		return "", false
	}
	args, _, ok = strings.Cut(after, ")")
	return args, ok
}
