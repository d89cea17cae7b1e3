package null

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/pgvip/pgvip/wire"
)

// statement is a prepared one.
type statement struct {
	reply *reply
	types []uint32 // of the parameters
}

// portal is a bound statement; format is that of all its columns.
type portal struct {
	reply  *reply
	format int
}

// message handles one message of a session.
func (c *conn) message(kind byte, body []byte) error {
	if c.copying != nil {
		return c.copyMessage(kind, body)
	}
	if c.skipping && kind != 'S' && kind != 'X' {
		return nil
	}
	switch kind {
	case 'Q':
		c.query(body)
	case 'P':
		c.parse(body)
	case 'B':
		c.bind(body)
	case 'D':
		c.describe(body)
	case 'E':
		c.execute(body)
	case 'C':
		c.closeTarget(body)
	case 'S':
		c.skipping = false
		c.ready()
	case 'H': // Flush: run writes whatever is queued after each read
	case 'd', 'c', 'f': // COPY data after COPY failed: PostgreSQL drops it too
	case 'X':
		return errOver
	default:
		c.fatal(wire.CodeProtocolViolation, fmt.Sprintf("invalid frontend message type %d", kind))
		return errOver
	}
	return nil
}

// query answers a simple query: its statements one after the other, up to the
// first error, and one ReadyForQuery for all. What follows a COPY is dropped.
func (c *conn) query(body []byte) {
	sql, _, _ := bytes.Cut(body, []byte{0})
	failed := false
	statements(sql, func(one []byte) {
		if failed || c.copying != nil {
			return
		}
		r := c.answer(one)
		failed = !c.perform(r, formatText, true)
	})
	if c.copying != nil {
		c.copyByQuery = true
		return
	}
	c.ready()
}

// perform sends rows (described: with their RowDescription) and command tag and
// does what the statement does. It reports false after an error.
func (c *conn) perform(r *reply, format int, described bool) bool {
	if c.status == 'E' && r.effect != effectEnd {
		c.fail("25P02", "current transaction is aborted, commands ignored until end of transaction block")
		return false
	}
	switch r.effect {
	case effectNone, effectCopyOut:
		if described {
			c.out = append(c.out, r.desc[format]...)
		}
		c.out = append(c.out, r.cache[format]...)
	case effectBegin:
		c.status = 'T'
	case effectEnd:
		c.status = 'I'
	case effectSet:
		c.setParam(r.name, r.value)
	case effectReset:
		c.resetParams()
	case effectDiscard:
		c.resetParams()
		c.forgetPrepared()
	case effectDeallocate:
		c.forgetPrepared()
	case effectCopyIn:
		c.out = append(c.out, 'G', 0, 0, 0, 9, 0, 0, 1, 0, 0)
		c.copying, c.copied, c.copyByQuery = r, 0, false
		return true
	case effectFail:
		c.fail(r.name, "error asked for by null_error")
		return false
	default:
		panic("BUG: unknown effect")
	}
	if r.tag == "" {
		c.out = append(c.out, 'I', 0, 0, 0, 4)
	} else {
		c.out = appendCommandComplete(c.out, r.tag)
	}
	return true
}

// forgetPrepared drops what DISCARD ALL and DEALLOCATE ALL drop; the unnamed ones
// are not worth a word: the next Parse and Bind replace them.
func (c *conn) forgetPrepared() {
	clear(c.stmts)
	clear(c.portals)
}

// copyMessage takes what comes between CopyInResponse and the end of the data.
func (c *conn) copyMessage(kind byte, _ []byte) error {
	switch kind {
	case 'd':
		c.copied++
		return nil
	case 'H', 'S': // ignored while COPY runs, documentation 55.2.6
		return nil
	case 'c':
		c.copying = nil
		c.out = appendCommandComplete(c.out, fmt.Sprint("COPY ", c.copied))
	case 'X':
		return errOver
	default: // CopyFail, or a message that does not belong here
		c.copying = nil
		c.fail(wire.CodeQueryCanceled, "COPY from stdin failed")
		c.skipping = !c.copyByQuery
	}
	if c.copyByQuery {
		c.ready()
	}
	return nil
}

// cutString takes a NUL-terminated string off b.
func cutString(b []byte) (s, rest []byte, ok bool) {
	return bytes.Cut(b, []byte{0})
}

// violate answers a malformed body; the batch is skipped to its Sync.
func (c *conn) violate(message string) {
	c.fail(wire.CodeProtocolViolation, message)
	c.skipping = true
}

// uint16At takes a two-byte number off b; false when b is too short.
func uint16At(b []byte) (n int, rest []byte, ok bool) {
	if len(b) < 2 {
		return 0, nil, false
	}
	return int(binary.BigEndian.Uint16(b)), b[2:], true
}
