package pool

import (
	"strings"
	"sync/atomic"

	"github.com/pgvip/pgvip/wire"
)

// Profile is what a client expects of its session: the run-time parameters of its
// startup packet, and the reported parameters as it knows them. A server that is
// lent to it is made to fit first. The zero value expects nothing.
type Profile struct {
	Origin *Origin
	// AppName is application_name; empty for the one of Origin.
	AppName string

	changed []wire.Param // told since the login; replaced when it changes, never modified
}

// Origin is the part that clients with the same startup packet share, so that a
// server which goes from one to the next is found to fit by comparing pointers.
type Origin struct {
	// Startup are the parameters to set, in order; application_name only where
	// Profile.AppName cannot have it. Never modified.
	Startup []wire.Param
	// Welcome are the reported parameters as told at login. Never modified.
	Welcome []wire.Param

	accepted atomic.Bool // a server has taken Startup before
}

// same reports that a server which fits q fits p.
func (p *Profile) same(q *Profile) bool {
	return p.Origin == q.Origin && p.AppName == q.AppName && identical(p.changed, q.changed)
}

func identical(a, b []wire.Param) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// startup are the parameters to set.
func (p *Profile) startup() []wire.Param {
	if p.Origin == nil {
		return nil
	}
	return p.Origin.Startup
}

// value is a reported parameter as the client knows it.
func (p *Profile) value(name string) (string, bool) {
	if v, ok := lookup(p.changed, name); ok {
		return v, true
	}
	if p.AppName != "" && name == "application_name" {
		return p.AppName, true
	}
	if p.Origin == nil {
		return "", false
	}
	return lookup(p.Origin.Welcome, name)
}

// learn notes what the client is being told.
func (p *Profile) learn(name, value []byte) {
	if old, ok := p.value(string(name)); ok && old == string(value) {
		return
	}
	changed := make([]wire.Param, 0, len(p.changed)+1)
	for _, c := range p.changed {
		if c.Name != string(name) {
			changed = append(changed, c)
		}
	}
	p.changed = append(changed, wire.Param{Name: string(name), Value: string(value)})
}

// wanted are the parameters to bring back after the client's own RESET: those of
// its startup packet.
func (p *Profile) wanted() []wire.Param {
	if p.AppName == "" {
		return p.startup()
	}
	settings := append([]wire.Param(nil), p.startup()...)
	return append(settings, wire.Param{Name: "application_name", Value: p.AppName})
}

// Asks reports that the client's startup packet asked for parameters.
func (p *Profile) Asks() bool { return len(p.startup()) > 0 || p.AppName != "" }

// accepted reports that nothing of the profile is likely to be refused.
func (p *Profile) accepted() bool {
	return len(p.startup()) == 0 || p.Origin.accepted.Load()
}

func (p *Profile) setAccepted(yes bool) {
	if p.Origin != nil && p.Origin.accepted.Load() != yes {
		p.Origin.accepted.Store(yes)
	}
}

// informative are the reported parameters that say something of the server and
// cannot be set in a session.
var informative = map[string]bool{
	"server_version": true, "server_encoding": true, "integer_datetimes": true, "in_hot_standby": true,
	"is_superuser": true, "session_authorization": true,
}

// fits reports that the server needs nothing set and its client nothing told.
func (s *Server) fits(p *Profile) bool {
	return s.givenKnown && !s.drifted && s.given.same(p)
}

// adapt is the statement that makes the server fit, empty when there is nothing
// to set. What PostgreSQL reports is compared by value; of the rest we know what
// we have set ourselves.
func (s *Server) adapt(want *Profile) string {
	var q assignments
	given, wanted := s.given.startup(), want.startup()
	for _, p := range given {
		if s.reports(p.Name) == "" && !hasParameter(wanted, p.Name) {
			q.reset(p.Name)
		}
	}
	for _, p := range wanted {
		if name := s.reports(p.Name); name != "" {
			if _, known := want.value(name); known {
				continue
			}
		}
		if !s.givenKnown || !identical(given, wanted) {
			q.set(p.Name, p.Value)
		}
	}
	for _, p := range s.reported {
		if v, known := want.value(p.Name); known && v != p.Value && !informative[p.Name] {
			q.set(p.Name, v)
		}
	}
	return q.query()
}

// reports gives the name under which the server reports a parameter, empty if it
// does not.
func (s *Server) reports(name string) string {
	for i := range s.reported {
		if strings.EqualFold(s.reported[i].Name, name) {
			return s.reported[i].Name
		}
	}
	return ""
}

func hasParameter(params []wire.Param, name string) bool {
	for i := range params {
		if strings.EqualFold(params[i].Name, name) {
			return true
		}
	}
	return false
}

// assignments builds one statement that sets run-time parameters. set_config
// takes a value as the startup packet does, which SET does not for lists such as
// search_path; NULL takes the parameter back to its default.
type assignments struct{ text strings.Builder }

func (a *assignments) set(name, value string) {
	a.next(name)
	quote(&a.text, value)
	a.text.WriteString(", false)")
}

func (a *assignments) reset(name string) {
	a.next(name)
	a.text.WriteString("NULL, false)")
}

func (a *assignments) next(name string) {
	if a.text.Len() == 0 {
		a.text.WriteString("SELECT ")
	} else {
		a.text.WriteString(", ")
	}
	a.text.WriteString("pg_catalog.set_config(")
	quote(&a.text, name)
	a.text.WriteString(", ")
}

func (a *assignments) query() string { return a.text.String() }
