package dcs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"time"

	"github.com/pgvip/pgvip/route"
)

// decodeCluster reads what GET /cluster gives, field by field: a member that
// cannot be read must not cost the others. scope is what it should be of, where
// it says (Patroni 4).
func decodeCluster(body []byte, scope string) (route.Topology, error) {
	var top struct {
		Scope     json.RawMessage              `json:"scope"`
		Members   []map[string]json.RawMessage `json:"members"`
		Pause     json.RawMessage              `json:"pause"`
		Scheduled map[string]json.RawMessage   `json:"scheduled_switchover"`
	}
	topo := route.Topology{Kind: route.PatroniREST, Timeline: 1}
	if err := json.Unmarshal(body, &top); err != nil {
		return topo, err
	}
	if said := str(top.Scope); said != "" && said != scope {
		return topo, wrongScope(said, scope)
	}
	if top.Members == nil {
		return topo, errors.New("no members")
	}
	topo.Paused = truthy(top.Pause)
	for _, fields := range top.Members {
		m := clusterMember(fields)
		if m.Name == "" {
			continue
		}
		if m.Role == "leader" || m.Role == "standby_leader" {
			topo.Leader = m.Name
			topo.Standby = m.Role == "standby_leader"
		}
		topo.Members = append(topo.Members, m)
	}
	topo.Failover = scheduled(top.Scheduled)
	slices.SortStableFunc(topo.Members, func(a, b route.Member) int { return cmp.Compare(a.Name, b.Name) })
	return topo, nil
}

func wrongScope(said, want string) error {
	return fmt.Errorf("it is of cluster %q, and not of %q", said, want)
}

func clusterMember(fields map[string]json.RawMessage) route.Member {
	m := route.Member{Name: str(fields["name"]), Role: str(fields["role"]), State: str(fields["state"])}
	m.APIURL = apiURL(str(fields["api_url"]))
	m.Timeline = uint32(number(fields["timeline"], 32))
	m.ReceiveLSN, m.ReplayLSN = number(fields["receive_lsn"], 64), number(fields["replay_lsn"], 64)
	readTags(&m, fields["tags"])
	if m.State == "streaming" || m.State == "in archive recovery" {
		// Newer than 3.0: how a running replica gets its WAL.
		m.State, m.Replication = "running", m.State
	}
	host, port := str(fields["host"]), number(fields["port"], 16)
	if hostname.MatchString(host) {
		if port == 0 {
			port = 5432
		}
		m.Addr = net.JoinHostPort(host, strconv.FormatUint(port, 10))
	}
	return m
}

// scheduled reads {"at": time, "from": leader, "to": candidate}; nil for none, and
// for one without a time, which might act too early.
func scheduled(fields map[string]json.RawMessage) *route.FailoverRequest {
	at, err := time.Parse(time.RFC3339Nano, str(fields["at"]))
	if err != nil {
		return nil
	}
	return &route.FailoverRequest{Leader: str(fields["from"]), Candidate: str(fields["to"]), ScheduledAt: at}
}

// read takes the body of GET /primary. Only a wrong scope is an error: the status
// is what was asked for.
func (w *word) read(body []byte, scope string) error {
	var said struct {
		SystemID string `json:"database_system_identifier"`
		Patroni  struct {
			Scope string `json:"scope"`
			Name  string `json:"name"`
		} `json:"patroni"`
	}
	_ = json.Unmarshal(body, &said)
	w.name, w.systemID = said.Patroni.Name, said.SystemID
	if said.Patroni.Scope != "" && said.Patroni.Scope != scope {
		return wrongScope(said.Patroni.Scope, scope)
	}
	return nil
}
