package config

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// sunPath is the room for a path in sockaddr_un on Linux, its NUL included:
// unix(7).
const sunPath = 108

// scopeName reads Patroni's scope, one element of etcd's key path.
func scopeName(text string) (string, error) {
	if text == "" || strings.ContainsAny(text, "/ \t\r\n") {
		return "", fmt.Errorf("must be one name without slashes and spaces, is %q", text)
	}
	return text, nil
}

// namespace reads Patroni's namespace, in whose keys doubled slashes count as
// one and those at the ends do not matter.
func namespace(text string) (string, error) {
	if strings.ContainsAny(text, " \t\r\n") {
		return "", fmt.Errorf("must not hold spaces, is %q", text)
	}
	clean := path.Clean("/" + text)
	if clean == "/" {
		return "/", nil
	}
	return clean + "/", nil
}

// socketDir reads a folder for Unix sockets; "" is none.
func socketDir(text string) (string, error) {
	if text != "" && !filepath.IsAbs(text) {
		return "", fmt.Errorf("must be an absolute path, is %q", text)
	}
	return text, nil
}

// keepSpan reads TCP_KEEPIDLE or TCP_KEEPINTVL, whole seconds up to
// MAX_TCP_KEEPIDLE (linux/include/net/tcp.h).
func keepSpan(text string) (time.Duration, error) {
	d, err := span(time.Second)(text)
	if err == nil && d > 32767*time.Second {
		err = errors.New("must be at most 32767s, is " + text)
	}
	return d, err
}

// check applies the rules that look at more than one key.
func (r *reader) check(c *Config) {
	r.checkCluster(c)
	r.checkListen(c)
	r.checkAuth(c)
	r.checkDatabases(c)
}

func (r *reader) checkCluster(c *Config) {
	r.checkFilled("etcd.hosts", c.Etcd.Hosts)
	if c.Etcd.Password.IsSet() && c.Etcd.Username == "" {
		r.faultAt("etcd.username", "is required with a password")
	}
	p := c.Probe
	switch {
	case p.FastInter <= p.Inter:
	case r.given("probe.fastinter"):
		r.faultAt("probe.fastinter", "must not be longer than inter, %s, is %s", short(p.Inter), short(p.FastInter))
	default:
		r.faultAt("probe.inter", "must not be shorter than fastinter, %s, is %s", short(p.FastInter), short(p.Inter))
	}
}

// checkFilled wants an address in a list that the file gives, unless all that
// stood there has been found faulty.
func (r *reader) checkFilled(path string, list []Address) {
	if len(list) == 0 && r.given(path) && !r.faulty(path) {
		r.faultAt(path, "must have at least one address")
	}
}

func (r *reader) checkListen(c *Config) {
	l := c.Listen
	r.checkFilled("listen.primary", l.Primary)
	if longest := sunPath - len("/.s.PGSQL.65535"); len(l.UnixSocketDir) >= longest {
		r.faultAt("listen.unix_socket_dir", "must be shorter than %d bytes, is %d", longest, len(l.UnixSocketDir))
	}
	taken := map[Address]string{}
	r.checkTaken(taken, "listen.primary", l.Primary)
	r.checkTaken(taken, "listen.replicas", l.Replicas)
}

// checkTaken adds the addresses of a role to those that are taken.
func (r *reader) checkTaken(taken map[Address]string, path string, list []Address) {
	for _, a := range list {
		// Port 0 asks the kernel for a free one, as often as one likes.
		if other, ok := taken[a]; ok && a.Port != 0 {
			r.faultAt(path, "has %s, which %s has already", a, other)
		}
		taken[a] = path
	}
}

func (r *reader) checkAuth(c *Config) {
	c.AuthFile = r.resolve(c.AuthFile)
	if c.AuthFile == "" && c.AuthType != AuthTrust {
		r.faultAt("auth_file", "is required with auth_type %s", c.AuthType)
	}
}

func (r *reader) checkDatabases(c *Config) {
	fallback, ok := c.Databases[AnyDatabase]
	if !ok {
		c.Databases[AnyDatabase] = c.databaseDefaults()
	}
	if fallback.DBName != "" {
		r.faultAt("databases.*.dbname", "would send every unnamed database to %q", fallback.DBName)
	}
	for _, name := range []string{"pgbouncer", "pgvip"} {
		if path := join("databases", name); r.given(path) {
			r.faultAt(path, "is the name of the operators' console")
		}
	}
}

// given reports whether the file has the key.
func (r *reader) given(path string) bool {
	_, ok := r.seen[path]
	return ok
}

// faulty reports whether the key has a fault already, so that a second one
// would only repeat it.
func (r *reader) faulty(path string) bool {
	for _, f := range r.faults {
		if f.Path == path {
			return true
		}
	}
	return false
}

// faultAt notes a fault where a key stands, or at the nearest section that is
// there.
func (r *reader) faultAt(path, format string, args ...any) {
	at, ok := r.seen[path]
	for section := path; !ok && section != ""; at, ok = r.seen[section] {
		section = section[:max(strings.LastIndexByte(section, '.'), 0)]
	}
	if !ok {
		at = start
	}
	r.fault(at, path, format, args...)
}
