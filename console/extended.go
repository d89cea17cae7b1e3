package console

import "github.com/pgvip/pgvip/wire"

const (
	// mostPrepared bounds the statements and the portals of one operator.
	mostPrepared = 1000
)

// statement is a prepared command.
type statement struct {
	command Command
	columns []column // nil for a command without rows
}

// portal is a statement that is about to be carried out, or has been in part.
type portal struct {
	*statement
	results formats
	answer  *answer // nil before the first Execute
}

// extended carries out a message of the extended protocol.
func (s *session) extended(typ byte, body []byte) error {
	switch typ {
	case 'P':
		return s.parse(body)
	case 'B':
		return s.bind(body)
	case 'D':
		return s.describe(body)
	case 'E':
		return s.execute(body)
	case 'C':
		return s.closeNamed(body)
	default:
		return refuse(wire.CodeFeatureNotSupported, "the admin console has no functions to call", "")
	}
}

func (s *session) parse(body []byte) error {
	d := &decoder{rest: body}
	name, sql := d.string(), d.string()
	types := d.int16()
	d.take(4 * types)
	if err := d.end(); err != nil {
		return err
	}
	c, err := Parse(sql)
	if err != nil {
		return err
	}
	if types > 0 {
		return refuse(wire.CodeFeatureNotSupported, "the admin console takes no parameters", "Write the value into the command.")
	}
	if _, taken := s.statements[name]; taken && name != "" {
		return refuse(wire.CodeDuplicatePrepared, "prepared statement \""+name+"\" already exists", "")
	}
	if len(s.statements) >= mostPrepared {
		return refuse(wire.CodeProgramLimitExceeded, "too many prepared statements", "")
	}
	s.statements[name] = &statement{command: c, columns: s.columns(c)}
	s.reply('1')
	return nil
}

func (s *session) bind(body []byte) error {
	b, err := decodeBind(body)
	if err != nil {
		return err
	}
	st := s.statements[b.statement]
	switch {
	case st == nil:
		return refuse(wire.CodeInvalidStatementName, "prepared statement \""+b.statement+"\" does not exist", "")
	case b.parameters > 0:
		return refuse(wire.CodeProtocolViolation, "bind message supplies parameters, but the admin console takes none", "")
	case b.portal != "" && s.portals[b.portal] != nil:
		return refuse(wire.CodeDuplicateCursor, "cursor \""+b.portal+"\" already exists", "")
	case len(s.portals) >= mostPrepared:
		return refuse(wire.CodeProgramLimitExceeded, "too many portals", "")
	}
	if st.columns != nil {
		err = b.results.check(len(st.columns))
	}
	if err != nil {
		return err
	}
	s.portals[b.portal] = &portal{statement: st, results: b.results}
	s.reply('2')
	return nil
}

func (s *session) describe(body []byte) error {
	d := &decoder{rest: body}
	kind, name := d.byte(), d.string()
	if err := d.end(); err != nil {
		return err
	}
	var cols []column
	var results formats
	if kind == 'S' {
		st := s.statements[name]
		if st == nil {
			return refuse(wire.CodeInvalidStatementName, "prepared statement \""+name+"\" does not exist", "")
		}
		cols = st.columns
		s.out = message(s.out, 't', func(b []byte) []byte { return append(b, 0, 0) }) // no parameters
	} else {
		p := s.portals[name]
		if p == nil {
			return noPortal(name)
		}
		cols, results = p.columns, p.results
	}
	if cols == nil {
		s.reply('n')
		return nil
	}
	s.out = appendRowDescription(s.out, cols, results)
	return nil
}

func (s *session) execute(body []byte) error {
	d := &decoder{rest: body}
	name, most := d.string(), d.int32()
	if err := d.end(); err != nil {
		return err
	}
	p := s.portals[name]
	if p == nil {
		return noPortal(name)
	}
	if p.answer == nil {
		a, err := s.answer(p.command)
		if err != nil {
			return err
		}
		p.answer = a
	}
	n := len(p.answer.rows)
	if most > 0 {
		n = min(n, most)
	}
	return s.send(p.answer, p.results, n)
}

func (s *session) closeNamed(body []byte) error {
	d := &decoder{rest: body}
	kind, name := d.byte(), d.string()
	if err := d.end(); err != nil {
		return err
	}
	if kind == 'S' {
		delete(s.statements, name)
	} else {
		delete(s.portals, name)
	}
	s.reply('3')
	return nil
}

func noPortal(name string) error {
	return refuse(wire.CodeInvalidCursorName, "portal \""+name+"\" does not exist", "")
}

// reply appends a message that has no body.
func (s *session) reply(typ byte) {
	s.out = message(s.out, typ, func(b []byte) []byte { return b })
}
