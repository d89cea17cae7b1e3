package null

import (
	"encoding/binary"

	"github.com/pgvip/pgvip/wire"
)

// parse keeps a statement. A named one must be closed before its name serves again;
// the unnamed one is replaced.
func (c *conn) parse(body []byte) {
	name, rest, ok1 := cutString(body)
	sql, rest, ok2 := cutString(rest)
	n, rest, ok3 := uint16At(rest)
	if !ok1 || !ok2 || !ok3 || len(rest) != 4*n {
		c.violate("malformed Parse")
		return
	}
	if _, exists := c.stmts[string(name)]; exists {
		c.fail(wire.CodeDuplicatePrepared, "prepared statement already exists")
		c.skipping = true
		return
	}
	if len(name) == 0 {
		types := parameterTypes(c.unnamedStmt.types[:0], sql, rest)
		c.unnamedStmt = statement{reply: c.answer(sql), types: types}
	} else {
		c.stmts[string(name)] = statement{reply: c.answer(sql), types: parameterTypes(nil, sql, rest)}
	}
	c.out = append(c.out, '1', 0, 0, 0, 4)
}

// bind makes a portal of a statement. Parameters are walked over, not read: no
// reply depends on them.
func (c *conn) bind(body []byte) {
	name, rest, ok1 := cutString(body)
	from, rest, ok2 := cutString(rest)
	if !ok1 || !ok2 {
		c.violate("malformed Bind")
		return
	}
	stmt, known := c.statement(from)
	if !known {
		c.fail(wire.CodeInvalidStatementName, "prepared statement does not exist")
		c.skipping = true
		return
	}
	format, ok := resultFormat(rest)
	if !ok {
		c.violate("malformed Bind, or result columns of different formats")
		return
	}
	p := portal{reply: stmt.reply, format: format}
	if len(name) == 0 {
		c.unnamedPortal = p
	} else {
		c.portals[string(name)] = p
	}
	c.out = append(c.out, '2', 0, 0, 0, 4)
}

// resultFormat walks over the parameters of a Bind to the format of its result.
// Columns of different formats are not supported: no driver asks for them here.
func resultFormat(b []byte) (format int, ok bool) {
	n, b, ok := uint16At(b)
	if !ok || len(b) < 2*n {
		return 0, false
	}
	n, b, ok = uint16At(b[2*n:])
	if !ok {
		return 0, false
	}
	for range n {
		if len(b) < 4 {
			return 0, false
		}
		size := int(int32(binary.BigEndian.Uint32(b)))
		b = b[4:]
		if size < 0 {
			continue // NULL
		}
		if size > len(b) {
			return 0, false
		}
		b = b[size:]
	}
	n, b, ok = uint16At(b)
	if !ok || len(b) != 2*n {
		return 0, false
	}
	for i := range n {
		code := int(binary.BigEndian.Uint16(b[2*i:]))
		if code > formatBinary || i > 0 && code != format {
			return 0, false
		}
		format = code
	}
	return format, true
}

// statement finds a prepared statement; the lookup allocates nothing.
func (c *conn) statement(name []byte) (statement, bool) {
	if len(name) == 0 {
		return c.unnamedStmt, c.unnamedStmt.reply != nil
	}
	s, ok := c.stmts[string(name)]
	return s, ok
}

// portal finds a portal. Unlike PostgreSQL's they outlive their transaction.
func (c *conn) portal(name []byte) (portal, bool) {
	if len(name) == 0 {
		return c.unnamedPortal, c.unnamedPortal.reply != nil
	}
	p, ok := c.portals[string(name)]
	return p, ok
}

// describe answers for a statement with its parameters and its columns in text
// format, as the format is not known yet; for a portal with its columns alone.
func (c *conn) describe(body []byte) {
	kind, name, ok := target(body)
	if !ok {
		c.violate("malformed Describe")
		return
	}
	if kind == 'S' {
		stmt, known := c.statement(name)
		if !known {
			c.fail(wire.CodeInvalidStatementName, "prepared statement does not exist")
			c.skipping = true
			return
		}
		c.out = appendParameterDescription(c.out, stmt.types)
		c.describeRows(stmt.reply, formatText)
		return
	}
	p, known := c.portal(name)
	if !known {
		c.fail("34000", "portal does not exist")
		c.skipping = true
		return
	}
	c.describeRows(p.reply, p.format)
}

// describeRows appends RowDescription, or NoData for what returns no rows.
func (c *conn) describeRows(r *reply, format int) {
	if r.desc[format] == nil {
		c.out = append(c.out, 'n', 0, 0, 0, 4)
		return
	}
	c.out = append(c.out, r.desc[format]...)
}

// execute runs a portal to its end: a row limit is ignored.
func (c *conn) execute(body []byte) {
	name, rest, ok := cutString(body)
	if !ok || len(rest) != 4 {
		c.violate("malformed Execute")
		return
	}
	p, known := c.portal(name)
	if !known {
		c.fail("34000", "portal does not exist")
		c.skipping = true
		return
	}
	if !c.perform(p.reply, p.format, false) {
		c.skipping = true
	}
}

// closeTarget forgets a statement or portal. Closing what is not there is no error,
// so says the protocol.
func (c *conn) closeTarget(body []byte) {
	kind, name, ok := target(body)
	if !ok {
		c.violate("malformed Close")
		return
	}
	switch {
	case kind == 'S' && len(name) == 0:
		c.unnamedStmt.reply = nil
	case kind == 'S':
		delete(c.stmts, string(name))
	case len(name) == 0:
		c.unnamedPortal.reply = nil
	default:
		delete(c.portals, string(name))
	}
	c.out = append(c.out, '3', 0, 0, 0, 4)
}

// target reads the body of Describe and Close: 'S' or 'P' and a name.
func target(body []byte) (kind byte, name []byte, ok bool) {
	if len(body) < 2 || body[0] != 'S' && body[0] != 'P' {
		return 0, nil, false
	}
	name, rest, ok := cutString(body[1:])
	return body[0], name, ok && len(rest) == 0
}
