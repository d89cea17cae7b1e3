package null

import (
	"bytes"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// defaultParams is what PostgreSQL 15 reports at login (GUC_REPORT).
func defaultParams() []wire.Param {
	return []wire.Param{
		{Name: "application_name", Value: ""},
		{Name: "client_encoding", Value: "UTF8"},
		{Name: "DateStyle", Value: "ISO, MDY"},
		{Name: "default_transaction_read_only", Value: "off"},
		{Name: "in_hot_standby", Value: "off"},
		{Name: "integer_datetimes", Value: "on"},
		{Name: "IntervalStyle", Value: "postgres"},
		{Name: "is_superuser", Value: "on"},
		{Name: "server_encoding", Value: "UTF8"},
		{Name: "server_version", Value: "15.0 (null)"},
		{Name: "session_authorization", Value: "postgres"},
		{Name: "standard_conforming_strings", Value: "on"},
		{Name: "TimeZone", Value: "UTC"},
	}
}

// applyStartup takes name and value pairs, each ended by a NUL, from the rest
// of a StartupMessage. Names that are not reported are accepted and forgotten.
func (c *conn) applyStartup(b []byte) {
	for {
		name, rest, ok := bytes.Cut(b, []byte{0})
		if !ok || len(name) == 0 {
			return
		}
		value, rest, ok := bytes.Cut(rest, []byte{0})
		if !ok {
			return
		}
		b = rest
		if string(name) == "user" {
			name = []byte("session_authorization")
		}
		c.setParam(string(name), string(value))
	}
}

// setParam changes a reported parameter; PostgreSQL reports it before the next
// ReadyForQuery, and only when it has really changed.
func (c *conn) setParam(name, value string) {
	for i := range c.params {
		p := &c.params[i]
		if !strings.EqualFold(p.Name, name) {
			continue
		}
		if p.Value != value {
			p.Value = value
			c.changed = append(c.changed, i)
		}
		return
	}
}

// param is the value of a reported parameter, "" for all others.
func (c *conn) param(name string) string {
	for _, p := range c.params {
		if strings.EqualFold(p.Name, name) {
			return p.Value
		}
	}
	return ""
}

// resetParams does what RESET ALL and DISCARD ALL do.
func (c *conn) resetParams() {
	for _, p := range defaultParams() {
		if p.Name != "session_authorization" {
			c.setParam(p.Name, p.Value)
		}
	}
}

// appendParameterStatus appends message S: name and value, each ended by a NUL.
func appendParameterStatus(dst []byte, p wire.Param) []byte {
	dst, mark := begin(dst, 'S')
	dst = append(dst, p.Name...)
	dst = append(dst, 0)
	dst = append(dst, p.Value...)
	dst = append(dst, 0)
	return end(dst, mark)
}
