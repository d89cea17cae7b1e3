package migrate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/pgvip/pgvip/config"
)

// Note is what somebody should know about one line of the old file. It holds no
// password.
type Note struct {
	File string
	Line int // 0 for what is not there
	Key  string
	Text string // the rest of a sentence that begins with the key
}

// String gives the note on one line.
func (n Note) String() string {
	if n.Line == 0 {
		return n.Key + ": " + n.Text
	}
	return fmt.Sprintf("%s:%d: %s: %s", n.File, n.Line, n.Key, n.Text)
}

// Result is a configuration of pgvip that still lacks what PgBouncer does not
// know: scope, etcd and probe.
type Result struct {
	YAML  string
	Notes []Note
}

// Convert reads the pgbouncer.ini at path, with read, and what it includes. The
// error says in which line PgBouncer would stop too.
func Convert(path string, read func(path string) ([]byte, error)) (*Result, error) {
	s := &scanner{read: read}
	if err := s.file(path, 0); err != nil {
		return nil, err
	}
	c := &converter{values: map[string]string{}, hosts: map[string]bool{}}
	for _, e := range s.entries {
		c.take(e)
	}
	c.defaults(path)
	return &Result{YAML: c.yaml(path), Notes: c.notes}, nil
}

// converter collects what the old file says.
type converter struct {
	values    map[string]string // of the top, by path; the last one counts
	databases group
	users     group
	hosts     map[string]bool // that databases lead to
	notes     []Note
}

// group is the databases or the users, in the order of the file.
type group struct {
	names  []string
	values map[string]map[string]string
}

// of gives the settings of a name, which may be new. The last line counts alone.
func (g *group) of(name string) map[string]string {
	if g.values == nil {
		g.values = map[string]map[string]string{}
	}
	if _, known := g.values[name]; !known {
		g.names = append(g.names, name)
	}
	g.values[name] = map[string]string{}
	return g.values[name]
}

func (c *converter) note(e entry, key, format string, args ...any) {
	c.notes = append(c.notes, Note{e.file, e.line, key, fmt.Sprintf(format, args...)})
}

func (c *converter) take(e entry) {
	switch e.section {
	case "pgbouncer":
		c.setting(e)
	case "databases":
		c.named(e, "databases", &c.databases)
	case "users":
		c.named(e, "users", &c.users)
	case "peers":
		text, _ := config.Explain("peers")
		c.note(e, "peers."+e.key, "%s", text)
	default:
		c.note(e, e.key, "stands in section [%s], which PgBouncer does not know", e.section)
	}
}

// setting takes a line of [pgbouncer].
func (c *converter) setting(e entry) {
	path := e.key
	if strings.HasPrefix(path, "unix_socket_") {
		path = "listen." + path // it stands in a section here
	}
	if e.value == "" && path != "server_reset_query" && path != "server_check_query" {
		return // not set, which is the default here too
	}
	value, ok := c.value(e, e.key, path, e.value)
	if ok {
		c.values[path] = value
	}
}

// value converts one value, or notes why it cannot be taken.
func (c *converter) value(e entry, key, path, text string) (string, bool) {
	value, err := config.FromPgBouncer(path, text)
	switch {
	case err == nil:
		return value, true
	case !errors.Is(err, config.ErrUnknown):
		c.note(e, key, "%s; left out", err)
	default:
		why, known := config.Explain(path)
		if !known {
			why = err.Error()
		}
		c.note(e, key, "%s", why)
	}
	return "", false
}

// named takes a line of [databases] or [users].
func (c *converter) named(e entry, section string, g *group) {
	pairs, err := splitPairs(e.value)
	if err != nil {
		c.note(e, section+"."+e.key, "%s; left out", err)
		return
	}
	into := g.of(e.key)
	for _, p := range pairs {
		key := section + "." + e.key + "." + p.key
		if c.special(e, key, section, p, into) {
			continue
		}
		if value, ok := c.value(e, key, section+".*."+p.key, p.value); ok {
			into[p.key] = value
		}
	}
}

// special takes the pairs that a table cannot explain, and reports whether p was one.
func (c *converter) special(e entry, key, section string, p pair, into map[string]string) bool {
	switch {
	case section == "users" && p.value == "0" && strings.HasSuffix(p.key, "_timeout"),
		section == "databases" && p.value == "0" && p.key == "server_lifetime":
		// PgBouncer's way to say that the setting of the top counts.
	case p.key == "reserve_pool":
		if value, ok := c.value(e, key, "databases.*.reserve_pool_size", p.value); ok {
			into["reserve_pool_size"] = value
		}
	case section == "databases" && p.key == "host":
		c.hosts[p.value] = true
	case section == "databases" && (p.key == "port" || p.key == "load_balance_hosts"):
		// With host, in one note.
	case section == "databases" && p.key == "dbname" && e.key == "*":
		c.note(e, key, "would send every unnamed database to %q; left out", p.value)
	default:
		return false
	}
	return true
}

// defaults says aloud what silence means to PgBouncer and not to pgvip: without
// a fallback, databases that are not named do not exist.
func (c *converter) defaults(path string) {
	if _, given := c.values["auth_type"]; !given {
		c.values["auth_type"] = "md5"
		c.notes = append(c.notes, Note{File: path, Key: "auth_type",
			Text: "is not there, so PgBouncer's default md5 is written; scram-sha-256 is better where all secrets allow it"})
	}
	if _, given := c.databases.values["*"]; !given {
		c.databases.of("*")["disabled"] = "true"
	}
	if len(c.hosts) > 0 {
		text, _ := config.Explain("databases.*.host")
		if len(c.hosts) > 1 {
			text += fmt.Sprintf("; there are %d different hosts, and one pgvip serves the nodes of one cluster", len(c.hosts))
		}
		c.notes = append(c.notes, Note{File: path, Key: "databases.*.host", Text: text})
	}
}
