package proxy

import (
	"slices"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// request is what a client asks for in its startup packet.
type request struct {
	user     string
	database string
	forced   string       // whom the database's servers log in as for everybody; empty for user
	appName  string       // application_name, kept apart because nearly every client has its own
	settings []wire.Param // run-time parameters to set on its server, in the order of PostgreSQL
	// backend holds the parameters for a server made for this client alone,
	// because not all of them can be set later; nil for most clients.
	backend     []wire.Param
	replication replication
}

// atStartOnly are the parameters of context "backend" and "superuser-backend":
// PostgreSQL takes them when a connection starts and never again.
var atStartOnly = map[string]bool{
	"ignore_system_indexes":     true,
	"jit_debugging_support":     true,
	"jit_profiling_support":     true,
	"log_connections":           true,
	"log_disconnections":        true,
	"post_auth_delay":           true,
	"local_preload_libraries":   true,
	"session_preload_libraries": true,
}

// readRequest reads a startup packet. No parameter is refused as unknown and
// none is dropped: what is not ours goes to the server, which knows best.
func readRequest(s *wire.Startup) (*request, error) {
	r := &request{database: s.Database()}
	r.user, _ = s.Get("user")
	if r.user == "" {
		return nil, wire.Fatal(wire.CodeInvalidAuthorization, "no PostgreSQL user name specified in startup packet", "")
	}
	if r.database == "" {
		r.database = r.user
	}
	var err error
	if r.replication, err = replicationOf(s); err != nil {
		return nil, err
	}
	dedicated := r.replication != noReplication
	// As in PostgreSQL, options come first and single parameters override them.
	if options, ok := s.Get("options"); ok {
		params, rest, err := wire.ParseOptions(options)
		if err != nil {
			return nil, err
		}
		dedicated = dedicated || len(rest) > 0
		for _, p := range params {
			dedicated = r.set(p) || dedicated
		}
	}
	for _, p := range s.Params {
		switch {
		case p.Name == "user", p.Name == "database", p.Name == "options", p.Name == "replication", strings.HasPrefix(p.Name, "_pq_."):
		default:
			dedicated = r.set(p) || dedicated
		}
	}
	if dedicated {
		r.backend = backendParams(s, r.replication)
	}
	return r, nil
}

// serverUser is whom the client's servers log in as.
func (r *request) serverUser() string {
	if r.forced != "" {
		return r.forced
	}
	return r.user
}

// set notes one run-time parameter and reports whether only a starting server
// takes it. One that comes twice is set twice, as by PostgreSQL: DateStyle takes
// from a value what it says and leaves the rest as it was.
func (r *request) set(p wire.Param) bool {
	name := strings.ToLower(p.Name)
	if name == "application_name" {
		r.settings = slices.DeleteFunc(r.settings, func(old wire.Param) bool { return strings.ToLower(old.Name) == name })
		r.appName = ""
		if p.Value != "" && plainName(p.Value) {
			r.appName = p.Value
			return false
		}
	}
	r.settings = append(r.settings, p)
	return atStartOnly[name]
}

// plainName reports an application_name that every version of PostgreSQL takes
// and reports as it is; others are the server's to spell.
func plainName(s string) bool {
	if len(s) > 63 {
		return false
	}
	for i := range len(s) {
		if s[i] < 32 || s[i] > 126 {
			return false
		}
	}
	return true
}

// backendParams are the startup packet's parameters as they are, for a server
// of the client's own.
func backendParams(s *wire.Startup, rep replication) []wire.Param {
	var params []wire.Param
	for _, p := range s.Params {
		switch {
		case p.Name == "user", p.Name == "database", strings.HasPrefix(p.Name, "_pq_."):
		case p.Name == "replication" && rep == noReplication:
		default:
			params = append(params, p)
		}
	}
	return params
}

// key identifies what determines the welcome: everything but application_name.
func (r *request) key() string {
	var k strings.Builder
	write := func(s string) {
		k.WriteString(s)
		k.WriteByte(0)
	}
	write(r.database)
	write(r.serverUser())
	for _, p := range r.settings {
		write(p.Name)
		write(p.Value)
	}
	if r.backend != nil {
		write("")
		for _, p := range r.backend {
			write(p.Name)
			write(p.Value)
		}
	}
	return k.String()
}
