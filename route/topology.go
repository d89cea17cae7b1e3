package route

import (
	"fmt"
	"time"
)

// Topology is what the cluster manager's keys say at one revision. It is a
// claim, not the truth: Build weighs it against Health. Immutable once handed
// over.
type Topology struct {
	Kind           Kind   // where this comes from
	Leader         string // value of the leader key, empty when there is none
	LeaderRevision int64  // its mod_revision; compared for inequality only
	Members        []Member
	SystemID       string // value of the initialize key
	Initialized    bool   // the initialize key exists and is not empty
	Timeline       uint32 // the history's last entry + 1; 1 without a history
	Configured     bool   // the config key exists
	Paused         bool   // config.pause: nobody may be fenced for a missing key
	Failsafe       bool   // config.failsafe_mode
	Standby        bool   // config.standby_cluster: the leader is in recovery, by design
	Failover       *FailoverRequest
	FailsafePeers  map[string]string // the failsafe key: member name -> api_url
	Revision       int64             // of the store when this was read
	ClusterID      uint64            // of the store; another one means another store
}

// Kind says what kind of source a topology comes from, and with that how much of
// it is known.
type Kind int

// The kinds.
const (
	EtcdKeys    Kind = iota // Patroni's keys in etcd: all of it
	PatroniREST             // polls of Patroni's REST interface: all but the revisions
	StaticList              // names and addresses; who leads is for SQL to say
)

// String gives the kind as the configuration names it.
func (k Kind) String() string {
	switch k {
	case EtcdKeys:
		return "etcd"
	case PatroniREST:
		return "patroni"
	case StaticList:
		return "static"
	default:
		panic(fmt.Sprintf("BUG: route.Kind(%d)", int(k)))
	}
}

// Empty reports that no key of the cluster exists: a wrong scope, a store
// restored without it, or "patronictl remove".
func (t *Topology) Empty() bool {
	return t.Leader == "" && len(t.Members) == 0 && !t.Initialized && !t.Configured
}

// Member gives the named member, or nil.
func (t *Topology) Member(name string) *Member {
	for i := range t.Members {
		if t.Members[i].Name == name {
			return &t.Members[i]
		}
	}
	return nil
}

// Member is one members/<name> key.
type Member struct {
	Name          string
	Addr          string // host:port from conn_url (never proxy_url); may be empty
	APIURL        string // scheme://host:port of Patroni's REST interface; may be empty
	State         string // Patroni's word; only "running" is usable
	Role          string // Patroni's word, 3.x or 4.x; informational for the leader
	Version       string // of Patroni
	Timeline      uint32 // 0 when absent, as during a demotion
	NoLoadBalance bool
	Tags          map[string]string // every tag, printed as text
	Location      uint64            // xlog_location, bytes; at most loop_wait old
	ReceiveLSN    uint64            // Patroni 4.1 and newer, else 0
	ReplayLSN     uint64            // Patroni 4.1 and newer, else 0
	Replication   string            // replication_state: streaming, in archive recovery, or empty
	Paused        bool
}

// Running reports the only state in which a member takes connections.
func (m *Member) Running() bool { return m.State == "running" }

// Standby reports a role that serves reads. The words "sync_standby" and
// "quorum_standby" come from Patroni's /cluster, not from its keys.
func (m *Member) Standby() bool {
	switch m.Role {
	case "replica", "sync_standby", "quorum_standby":
		return true
	default:
		// master and primary lead; standby_leader leads a standby cluster;
		// promoted is on its way up, demoted on its way down.
		return false
	}
}

// FailoverRequest is the failover key: a switchover that somebody has asked
// for. Patroni clears it by writing {}, which is no request.
type FailoverRequest struct {
	Leader      string    // may be empty: any leader
	Candidate   string    // may be empty: Patroni chooses
	ScheduledAt time.Time // zero: now
}

// Due reports whether the request acts at now (rule 27).
func (f *FailoverRequest) Due(now time.Time) bool {
	return f != nil && !f.ScheduledAt.After(now)
}

// Freshness says how much the last news from the store is worth.
type Freshness int

// The three grades of ha.md 2.1 rule 11. The zero value is Blind: without news
// nothing new may be believed.
const (
	Blind Freshness = iota // over 10 s, or no news at all
	Stale                  // 2 s to 10 s
	Fresh                  // under 2 s
)

// The ages at which news gets a worse grade.
const (
	StaleAfter = 2 * time.Second
	BlindAfter = 10 * time.Second
)

// FreshnessOf grades news by its age.
func FreshnessOf(age time.Duration) Freshness {
	switch {
	case age < StaleAfter:
		return Fresh
	case age <= BlindAfter:
		return Stale
	default:
		return Blind
	}
}

// String gives the grade in the capitals that operators see.
func (f Freshness) String() string {
	switch f {
	case Blind:
		return "BLIND"
	case Stale:
		return "STALE"
	case Fresh:
		return "FRESH"
	default:
		panic(fmt.Sprintf("BUG: route.Freshness(%d)", int(f)))
	}
}
