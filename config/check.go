package config

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"path"
	"path/filepath"
	"slices"
	"strconv"
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
	// As in libpq, "@" makes it a name in the abstract namespace.
	if text != "" && !filepath.IsAbs(strings.TrimPrefix(text, "@")) {
		return "", fmt.Errorf("must be an absolute path, is %q", text)
	}
	return text, nil
}

// fileMode reads permissions as chmod(1) takes them, "0660".
func fileMode(text string) (fs.FileMode, error) {
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil || n > 0o777 {
		return 0, fmt.Errorf("must be permissions in octal like 0660, is %q", text)
	}
	return fs.FileMode(n), nil
}

// network reads a network, "10.0.0.0/8", or a single address.
func network(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil && a.Zone() == "" {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("must be a network like 10.0.0.0/8, is %q", text)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("must have no bits beyond its mask, is %q: write %q", text, p.Masked().String())
	}
	return p, nil
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
	r.checkReads(c)
	r.checkListen(c)
	r.checkAdmin(c)
	r.checkAuth(c)
	r.checkTLS(c)
	r.checkDatabases(c)
	r.checkPeers(c)
	r.checkVIP(c)
}

func (r *reader) checkCluster(c *Config) {
	r.checkSource(c)
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
	r.checkTaken(taken, "listen.admin", l.Admin)
}

func (r *reader) checkAdmin(c *Config) {
	a := &c.Admin
	switch {
	case a.Password.IsSet() && a.User == "":
		r.faultAt("admin.user", "is required with a password")
	case a.User != "" && !a.Password.IsSet():
		r.faultAt("admin.password", "is required with a user")
	}
	switch {
	case a.CertFile == "" && a.KeyFile != "":
		r.faultAt("admin.tls_cert_file", "is required with tls_key_file")
	case a.CertFile != "" && a.KeyFile == "":
		r.faultAt("admin.tls_key_file", "is required with tls_cert_file")
	}
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
	// Without a user in some place nobody could log in.
	var places bool
	for _, d := range c.Databases {
		places = places || d.AuthUser.IsSet()
	}
	places = places || c.AuthFile != "" || c.AuthUser != ""
	switch c.AuthType {
	case AuthPlain, AuthMD5, AuthSCRAM:
		if !places {
			r.faultAt("auth_file", "is required with auth_type %s and without auth_user", c.AuthType)
		}
	case AuthHBA:
		if c.AuthHBAFile == "" {
			r.faultAt("auth_hba_file", "is required with auth_type hba")
		}
	case AuthCert:
		if c.ClientTLS.Mode < SSLVerifyCA {
			r.faultAt("client_tls_sslmode", "must be verify-ca or verify-full with auth_type cert, is %s", c.ClientTLS.Mode)
		}
	case AuthAny:
		r.checkAny(c)
	}
	if c.AuthUserPassword.IsSet() && c.AuthUser == "" {
		r.faultAt("auth_user", "is required with a password")
	}
	r.checkAuthDB("auth_dbname", c.AuthDBName)
}

// checkAny wants a user for the servers of every database, since that of the
// client is ignored.
func (r *reader) checkAny(c *Config) {
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		if d := c.Databases[name]; d.User == "" && !d.Disabled {
			r.faultAt(join("databases", name)+".user", "is required with auth_type any, which ignores the client's")
		}
	}
}

func (r *reader) checkAuthDB(path, name string) {
	if isConsole(name) {
		r.faultAt(path, "names the operators' console, which has no users")
	}
}

// isConsole reports whether a database is that of the operators.
func isConsole(name string) bool { return name == "pgbouncer" || name == "pgvip" }

func (r *reader) checkTLS(c *Config) {
	r.checkSide("client_tls_", &c.ClientTLS)
	r.checkSide("server_tls_", &c.ServerTLS)
	if c.ClientTLS.Mode > SSLDisable && c.ClientTLS.CertFile == "" && c.ClientTLS.KeyFile == "" {
		r.faultAt("client_tls_cert_file", "is required with client_tls_sslmode %s", c.ClientTLS.Mode)
	}
	if s := &c.ServerTLS; s.Negotiation == "direct" && s.Mode < SSLRequire {
		r.faultAt("server_tls_sslnegotiation", "must be postgres with server_tls_sslmode %s, is direct", s.Mode)
	}
}

func (r *reader) checkSide(prefix string, t *TLS) {
	switch {
	case t.CertFile == "" && t.KeyFile != "":
		r.faultAt(prefix+"cert_file", "is required with %skey_file", prefix)
	case t.CertFile != "" && t.KeyFile == "":
		r.faultAt(prefix+"key_file", "is required with %scert_file", prefix)
	}
	if t.Mode >= SSLVerifyCA && t.CAFile == "" {
		r.faultAt(prefix+"ca_file", "is required with %ssslmode %s", prefix, t.Mode)
	}
}

func (r *reader) checkDatabases(c *Config) {
	fallback := c.Databases[AnyDatabase]
	if fallback.DBName != "" {
		r.faultAt("databases.*.dbname", "would send every unnamed database to %q", fallback.DBName)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Databases)) {
		d, path := c.Databases[name], join("databases", name)
		if isConsole(name) {
			r.faultAt(path, "is the name of the operators' console")
		}
		if d.Password.IsSet() && d.User == "" {
			r.faultAt(path+".user", "is required with a password")
		}
		r.checkAuthDB(path+".auth_dbname", d.AuthDBName.Or(""))
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
