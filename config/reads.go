package config

import "time"

// Reads says which replicas serve reads, and how much each.
type Reads struct {
	// MaxLag and MaxLagBytes are how far a replica may be behind; 0 is no limit.
	MaxLag      time.Duration
	MaxLagBytes int64
	NoReplicas  string // primary or reject
	Balance     string // roundrobin or leastconn
	// PerTransaction chooses a node for each transaction, and not for each session,
	// where servers are shared.
	PerTransaction bool
	// SlowStart is how long the share of a replica that comes up grows; 0 gives it
	// at once.
	SlowStart time.Duration
	// Tags are those that a replica must have; with PreferTags they only put others
	// behind.
	Tags       map[string]string
	PreferTags bool
}

// Server is what is set for one server of the cluster.
type Server struct {
	Weight   Optional[int] // share of the reads
	MaxConn  int           // connections to it; 0 is no limit
	MaxQueue int           // clients that may wait for one of them; 0 is no limit
	Tags     map[string]string
}

// AnyServer is the name under which Servers keeps the settings of every server
// that has none of its own.
const AnyServer = "*"

// mostWeight is HAProxy's.
const mostWeight = 256

// readKeys say which replicas serve reads.
func readKeys() []setting[Config] {
	at := func(c *Config) *Reads { return &c.Reads }
	return []setting[Config]{
		key("replica_max_lag", "5m", timeout(), func(c *Config) *time.Duration { return &at(c).MaxLag }),
		key("replica_max_lag_bytes", "0", volume(0), func(c *Config) *int64 { return &at(c).MaxLagBytes }),
		key("no_replicas", "primary", oneOf("primary", "reject"), func(c *Config) *string { return &at(c).NoReplicas }),
		key("balance", "roundrobin", oneOf("roundrobin", "leastconn"), func(c *Config) *string { return &at(c).Balance }),
		key("read_balance", "session", eitherOf("session", "transaction"), func(c *Config) *bool { return &at(c).PerTransaction }),
		key("slowstart", "0s", timeout(), func(c *Config) *time.Duration { return &at(c).SlowStart }),
		pairs("replica_tags", func(c *Config) *map[string]string { return &at(c).Tags }),
		key("replica_tags_mode", "require", eitherOf("require", "prefer"), func(c *Config) *bool { return &at(c).PreferTags }),
	}
}

func serverKeys() []setting[Server] {
	return []setting[Server]{
		override("weight", count(0, mostWeight), func(s *Server) *Optional[int] { return &s.Weight }),
		key("maxconn", "0", count(0, most), func(s *Server) *int { return &s.MaxConn }),
		key("maxqueue", "0", count(0, most), func(s *Server) *int { return &s.MaxQueue }),
		pairs("tags", func(s *Server) *map[string]string { return &s.Tags }),
	}
}

// eitherOf reads one of two words; the second is true.
func eitherOf(no, yes string) func(string) (bool, error) {
	return func(text string) (bool, error) {
		word, err := oneOf(no, yes)(text)
		return word == yes, err
	}
}

// pairs is a key whose value maps names of the user's choice to texts. Without it
// the map is nil.
func pairs[S any](name string, at func(*S) *map[string]string) setting[S] {
	return setting[S]{name: name, fill: func(r *reader, into *S, v value) {
		if v.kind != kindMapping {
			r.fault(v.at, v.path, "must be %s, is %s", kindMapping, v.kind)
			return
		}
		all := make(map[string]string)
		for _, e := range r.index(v) {
			switch e.value.kind {
			case kindScalar:
				all[e.name] = e.value.text
			case kindBad:
			default:
				r.fault(e.at, e.value.path, "must be %s, is %s", kindScalar, e.value.kind)
			}
		}
		*at(into) = all
	}}
}

// Server gives what is set for a server: its own section, or else that of "*".
func (c *Config) Server(name string) Server {
	if s, ok := c.Servers[name]; ok {
		return s
	}
	return c.Servers[AnyServer]
}

// checkReads wants SQL where nothing else says who leads.
func (r *reader) checkReads(c *Config) {
	if c.Source == SourceStatic && c.Probe.Check != "sql" {
		r.faultAt("probe.check", "must be sql with source static, where only SQL tells who is the primary, is %s", c.Probe.Check)
	}
}
