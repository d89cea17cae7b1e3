package config

import (
	"maps"
	"slices"
	"time"
)

// Source is who tells about the cluster.
type Source uint8

// The sources.
const (
	SourceEtcd    Source = iota // Patroni's keys in etcd
	SourcePatroni               // Patroni's REST interface, polled
	SourceStatic                // nobody: a list of servers, and SQL
)

// String gives the name in the file.
func (s Source) String() string {
	switch s {
	case SourceEtcd:
		return "etcd"
	case SourcePatroni:
		return "patroni"
	case SourceStatic:
		return "static"
	default:
		panic("BUG: Source out of range")
	}
}

func source(text string) (Source, error) { return enum(SourceEtcd, SourceStatic)(text) }

// Etcd says where Patroni's keys are. The names are Patroni's; files are not
// opened here.
type Etcd struct {
	Hosts    []Address // never empty with SourceEtcd
	Protocol string    // "http" or "https"
	CACert   string    // "" is the system's authorities
	Cert     string    // of pgvip, "" without
	Key      string    // of Cert
	Username string    // "" without authentication
	Password Secret
}

// Patroni says where its REST interfaces are, for SourcePatroni.
type Patroni struct {
	Hosts    []Address
	Protocol string // "http" or "https"
	Interval time.Duration
}

// PatroniAPI says how Patroni's REST interface is spoken to, wherever it is.
type PatroniAPI struct {
	CACert   string // "" is the system's authorities
	Cert     string // of pgvip, "" without
	Key      string // of Cert
	Insecure bool   // believe any certificate
	Username string // "" without authentication
	Password Secret
}

// Static is a list of servers, for SourceStatic.
type Static struct {
	Servers map[string]StaticServer // by the name that is shown
}

// StaticServer is one of them.
type StaticServer struct {
	Address Address
}

func (r *reader) checkSource(c *Config) {
	switch c.Source {
	case SourceEtcd:
		r.checkHosts("etcd.hosts", c.Etcd.Hosts)
	case SourcePatroni:
		r.checkHosts("patroni.hosts", c.Patroni.Hosts)
	case SourceStatic:
		if len(c.Static.Servers) == 0 && !r.faulty("static.servers") {
			r.faultAt("static.servers", "must have at least one server with source static")
		}
		r.checkTwice(c.Static.Servers)
	}
	r.checkPair("etcd", c.Etcd.Cert, c.Etcd.Key)
	r.checkPair("patroni_api", c.PatroniAPI.Cert, c.PatroniAPI.Key)
	if c.Etcd.Protocol == "http" && (c.Etcd.CACert != "" || c.Etcd.Cert != "" || c.Etcd.Key != "") {
		r.faultAt("etcd.protocol", "must be https with a certificate, is http")
	}
	r.checkPassword("etcd", c.Etcd.Username, c.Etcd.Password)
	r.checkPassword("patroni_api", c.PatroniAPI.Username, c.PatroniAPI.Password)
}

// checkHosts wants hosts of the source that is used.
func (r *reader) checkHosts(path string, hosts []Address) {
	if len(hosts) == 0 && !r.given(path) {
		r.faultAt(path, "is required")
	}
	r.checkFilled(path, hosts)
}

// checkTwice wants each server once: two names for one would be two writers.
func (r *reader) checkTwice(servers map[string]StaticServer) {
	taken := map[Address]string{}
	for _, name := range slices.Sorted(maps.Keys(servers)) {
		a := servers[name].Address
		if other, ok := taken[a]; ok && a != (Address{}) {
			r.faultAt(join("static.servers", name)+".address", "is %s, which %s has", a, other)
		}
		taken[a] = name
	}
}

func (r *reader) checkPair(section, cert, key string) {
	switch {
	case cert == "" && key != "":
		r.faultAt(section+".cert", "is required with a key")
	case cert != "" && key == "":
		r.faultAt(section+".key", "is required with a cert")
	}
}

func (r *reader) checkPassword(section, username string, password Secret) {
	if password.IsSet() && username == "" {
		r.faultAt(section+".username", "is required with a password")
	}
}
