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
	r.checkAuth(c)
	r.checkListen(c)
	r.checkProbe(c)
	if _, ok := c.Databases[AnyDatabase]; !ok {
		c.Databases[AnyDatabase] = c.databaseDefaults()
	}
	if d := c.Databases[AnyDatabase]; d.DBName != "" && r.given("databases.*.dbname") {
		r.faultAt("databases.*.dbname", "would send every unnamed database to %q", d.DBName)
	}
	for _, name := range []string{"pgbouncer", "pgvip"} {
		if r.given(join("databases", name)) {
			r.faultAt(join("databases", name), "is the name of the operators' console")
		}
	}
	if c.Etcd.Password.IsSet() && c.Etcd.Username == "" {
		r.faultAt("etcd", "has a password and no username")
	}
}

func (r *reader) checkAuth(c *Config) {
	c.AuthFile = r.resolve(c.AuthFile)
	if c.AuthFile == "" && c.AuthType != AuthTrust && !r.given("auth_file") {
		r.fault(start, "auth_file", "is required with auth_type %s", c.AuthType)
	}
}

func (r *reader) checkListen(c *Config) {
	if len(c.Listen.Primary) == 0 && r.given("listen.primary") && !r.faulty("listen.primary") {
		r.faultAt("listen.primary", "must have at least one address")
	}
	taken := map[Address]string{}
	for _, role := range []struct {
		path      string
		addresses []Address
	}{{"listen.primary", c.Listen.Primary}, {"listen.replicas", c.Listen.Replicas}} {
		for _, a := range role.addresses {
			// Port 0 asks the kernel for a free one, as often as one likes.
			if other, ok := taken[a]; ok && a.Port != 0 {
				r.faultAt(role.path, "has %s, which %s has already", a, other)
			}
			taken[a] = role.path
			if dir := c.Listen.UnixSocketDir; len(dir)+len("/.s.PGSQL.65535") >= sunPath {
				r.faultAt("listen.unix_socket_dir", "must be shorter than %d bytes", sunPath-len("/.s.PGSQL.65535"))
				return
			}
		}
	}
}

func (r *reader) checkProbe(c *Config) {
	if p := c.Probe; p.FastInter > p.Inter {
		r.faultAt("probe.fastinter", "must not be longer than inter, %s, is %s", short(p.Inter), short(p.FastInter))
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
