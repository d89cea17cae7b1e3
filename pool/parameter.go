package pool

import (
	"bytes"
	"strconv"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// noteParameter notes a ParameterStatus and reports whether the client may have
// it as it stands.
func (s *Server) noteParameter(message []byte, action wire.Action) (bool, error) {
	name, value, ok := splitParameter(message[wire.HeaderSize:])
	if !ok {
		return false, errParameter
	}
	s.reported = setParameter(s.reported, name, value)
	if s.state != lent || action != wire.Forward || s.holding {
		s.drifted = true
		return false, nil // tellParameters makes up for it
	}
	s.borrower.Profile().learn(name, value)
	return true, nil
}

// maxParameter bounds the value of a reported parameter, search_path say. It is
// far above what anybody sets, and a server that sends more is none.
const maxParameter = 1 << 20

// noteLong collects a ParameterStatus that comes in pieces.
func (s *Server) noteLong(piece []byte, kind wire.Piece) error {
	if len(s.long)+len(piece) > maxParameter {
		return errParameter
	}
	s.long = append(s.long, piece...)
	if kind != wire.Last {
		return nil
	}
	message := s.long
	s.long = nil
	clients, err := s.noteParameter(message, s.streamed)
	if clients {
		s.passOn(message)
	}
	return err
}

// tellParameters sends the borrower a ParameterStatus for each reported
// parameter whose value it does not know yet.
func (s *Server) tellParameters() {
	var b []byte
	client := s.borrower.Profile()
	for _, p := range s.reported {
		if old, ok := client.value(p.Name); !ok || old != p.Value {
			b = wire.AppendParameterStatus(b, p)
			client.learn([]byte(p.Name), []byte(p.Value))
		}
	}
	s.drifted = false
	s.passOn(b)
}

func splitParameter(body []byte) (name, value []byte, ok bool) {
	name, rest, ok := bytes.Cut(body, []byte{0})
	if !ok {
		return nil, nil, false
	}
	value, rest, ok = bytes.Cut(rest, []byte{0})
	return name, value, ok && len(rest) == 0
}

// setParameter allocates only when the value is a new one.
func setParameter(params []wire.Param, name, value []byte) []wire.Param {
	for i := range params {
		if params[i].Name == string(name) {
			if params[i].Value != string(value) {
				params[i].Value = string(value)
			}
			return params
		}
	}
	return append(params, wire.Param{Name: string(name), Value: string(value)})
}

func lookup(params []wire.Param, name string) (string, bool) {
	for i := range params {
		if params[i].Name == name {
			return params[i].Value, true
		}
	}
	return "", false
}

// restoreQuery is one statement that sets those settings that the client has not: what
// a RESET has taken away, but not what it left. A parameter that was set in a
// session says so in pg_settings; those that are not listed there (a prefix that
// belongs to no extension) are empty after a RESET.
func restoreQuery(settings []wire.Param) string {
	var q strings.Builder
	q.WriteString("SELECT pg_catalog.set_config(v.name, v.value, false) FROM (VALUES ")
	for i, p := range settings {
		if i > 0 {
			q.WriteString(", ")
		}
		q.WriteString("(")
		q.WriteString(strconv.Itoa(i))
		q.WriteString(", ")
		quote(&q, p.Name)
		q.WriteString(", ")
		quote(&q, p.Value)
		q.WriteString(")")
	}
	q.WriteString(") AS v(n, name, value) LEFT JOIN pg_catalog.pg_settings AS s" +
		" ON pg_catalog.lower(s.name) = pg_catalog.lower(v.name)" +
		" WHERE CASE WHEN s.name IS NULL THEN coalesce(pg_catalog.current_setting(v.name, true), '') = ''" +
		" ELSE s.source <> 'session' END ORDER BY v.n")
	return q.String()
}

// quote writes a string literal that means the same whatever
// standard_conforming_strings is set to.
func quote(q *strings.Builder, s string) {
	if strings.Contains(s, `\`) {
		q.WriteString(" E")
		s = strings.ReplaceAll(s, `\`, `\\`)
	}
	q.WriteByte('\'')
	q.WriteString(strings.ReplaceAll(s, "'", "''"))
	q.WriteByte('\'')
}
