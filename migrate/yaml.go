package migrate

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/pgvip/pgvip/config"
)

// missing is what PgBouncer does not know.
const missing = `
# Patroni's scope, as in patroni.yml, and the members of etcd.
#scope: demo
#etcd:
#  hosts: [127.0.0.1:2379]

# The role that looks after the nodes: LOGIN and no other right.
#probe:
#  user: pgvip
#  password_env: PGVIP_PROBE_PASSWORD
`

// yaml writes the new file: keys in the order of the reference file, and behind
// them what was left out.
func (c *converter) yaml(path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made from %s. Fill in what begins with \"#\" right below, then run pgvip check.\n%s\n", oneLine(path), missing)
	section, paths := "", config.Paths()
	for _, p := range paths {
		value, given := c.values[p]
		if !given {
			continue
		}
		group, name, nested := strings.Cut(p, ".")
		if nested && group != section {
			fmt.Fprintf(&b, "%s:\n", group)
			section = group
		}
		if nested {
			fmt.Fprintf(&b, "  %s: %s\n", name, scalar(value))
		} else {
			fmt.Fprintf(&b, "%s: %s\n", p, scalar(value))
		}
	}
	c.databases.yaml(&b, "databases", paths)
	c.users.yaml(&b, "users", paths)
	if len(c.notes) > 0 {
		b.WriteString("\n# What was left out, or is to be looked at:\n")
	}
	for _, n := range c.notes {
		fmt.Fprintf(&b, "#   %s\n", oneLine(n.String()))
	}
	return b.String()
}

// yaml writes the section of all names, keys in the order of paths.
func (g *group) yaml(b *strings.Builder, section string, paths []string) {
	if len(g.names) == 0 {
		return
	}
	fmt.Fprintf(b, "\n%s:\n", section)
	for _, name := range g.names {
		fmt.Fprintf(b, "  %s:\n", scalar(name))
		for _, p := range paths {
			key, ours := strings.CutPrefix(p, section+".*.")
			if value, given := g.values[name][key]; ours && given {
				fmt.Fprintf(b, "    %s: %s\n", key, scalar(value))
			}
		}
	}
}

// plainScalar matches what means the same with and without quotes.
var plainScalar = regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9_./-]*$`)

// scalar writes a value or a key so that YAML reads it back as it is.
func scalar(text string) string {
	if plainScalar.MatchString(text) && !strings.EqualFold(text, "null") {
		return text
	}
	var b strings.Builder
	b.WriteByte('"')
	for i := range len(text) {
		switch ch := text[i]; {
		case ch == '"' || ch == '\\':
			b.WriteByte('\\')
			b.WriteByte(ch)
		case ch < ' ' || ch == 0x7f:
			fmt.Fprintf(&b, `\x%02x`, ch)
		default:
			b.WriteByte(ch)
		}
	}
	b.WriteByte('"')
	return b.String()
}

// oneLine keeps a text within its comment.
func oneLine(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return ' '
		}
		return r
	}, text)
}
