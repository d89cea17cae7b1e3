package dcs

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pgvip/pgvip/route"
)

// KV is one key of the store.
type KV struct {
	Key         string
	Value       []byte
	ModRevision int64
}

// Prefix gives the folder of a cluster's keys, "/<namespace>/<scope>/", as
// Patroni makes it: repeated slashes are one. group is the Citus group, empty
// for none.
func Prefix(namespace, scope, group string) string {
	parts := strings.FieldsFunc(namespace+"/"+scope+"/"+group, func(r rune) bool { return r == '/' })
	return "/" + strings.Join(parts, "/") + "/"
}

// Decode reads the keys under prefix. It accepts whatever it is given: a key
// that cannot be understood becomes a Fault and counts as absent, for a proxy
// that stops at one bad member would be worse than one that routes to the
// others. Keys that it does not know are ignored.
func Decode(prefix string, kvs []KV) (route.Topology, []Fault) {
	d := decoder{topo: route.Topology{Timeline: 1}}
	for _, kv := range kvs {
		name, ok := strings.CutPrefix(kv.Key, prefix)
		if !ok {
			continue
		}
		if err := d.key(name, kv); err != nil {
			d.faults = append(d.faults, Fault{Key: kv.Key, Err: err})
		}
	}
	slices.SortStableFunc(d.topo.Members, func(a, b route.Member) int { return cmp.Compare(a.Name, b.Name) })
	// The store cannot hold a key twice; a caller may.
	d.topo.Members = slices.CompactFunc(d.topo.Members, func(a, b route.Member) bool { return a.Name == b.Name })
	return d.topo, d.faults
}

type decoder struct {
	topo   route.Topology
	faults []Fault
}

func (d *decoder) key(name string, kv KV) error {
	if member, ok := strings.CutPrefix(name, "members/"); ok {
		return d.member(member, kv.Value)
	}
	switch name {
	case "leader":
		d.topo.Leader, d.topo.LeaderRevision = strings.TrimSpace(string(kv.Value)), kv.ModRevision
	case "initialize":
		// Empty while the first member is still bootstrapping.
		d.topo.SystemID = strings.TrimSpace(string(kv.Value))
		d.topo.Initialized = d.topo.SystemID != ""
	case "config":
		return d.config(kv.Value)
	case "history":
		return d.history(kv.Value)
	case "failover":
		return d.failover(string(kv.Value))
	case "failsafe":
		return d.failsafe(kv.Value)
	}
	return nil
}

// config reads the dynamic configuration, of which routing needs three keys.
func (d *decoder) config(value []byte) error {
	d.topo.Configured = true
	var c map[string]json.RawMessage
	if err := json.Unmarshal(value, &c); err != nil {
		return fmt.Errorf("config: %w", err)
	}
	d.topo.Paused = truthy(c["pause"])
	d.topo.Failsafe = truthy(c["failsafe_mode"])
	var standby map[string]json.RawMessage
	if json.Unmarshal(c["standby_cluster"], &standby) == nil {
		// Patroni's own test: an empty object is no standby cluster.
		for _, key := range []string{"host", "port", "restore_command"} {
			d.topo.Standby = d.topo.Standby || given(standby[key])
		}
	}
	return nil
}

// history reads [[timeline, lsn, reason, time, leader], ...]: the cluster is on
// the timeline after the last entry's.
func (d *decoder) history(value []byte) error {
	var entries [][]json.RawMessage
	if err := json.Unmarshal(value, &entries); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if len(entries) == 0 {
		return nil
	}
	last := entries[len(entries)-1]
	if len(last) == 0 {
		return errors.New("history: the last entry is empty")
	}
	var timeline uint32
	if err := json.Unmarshal(last[0], &timeline); err != nil {
		return fmt.Errorf("history: timeline: %w", err)
	}
	if timeline == math.MaxUint32 {
		return errors.New("history: timeline out of range")
	}
	d.topo.Timeline = timeline + 1
	return nil
}

// failover reads a switchover request. Patroni clears it by writing {}; before
// version 1.0 it was "leader:candidate".
func (d *decoder) failover(value string) error {
	var req struct {
		Leader      string `json:"leader"`
		Member      string `json:"member"`
		ScheduledAt string `json:"scheduled_at"`
	}
	if strings.HasPrefix(strings.TrimSpace(value), "{") {
		if err := json.Unmarshal([]byte(value), &req); err != nil {
			return fmt.Errorf("failover: %w", err)
		}
	} else {
		req.Leader, req.Member, _ = strings.Cut(value, ":")
		req.Leader, req.Member = strings.TrimSpace(req.Leader), strings.TrimSpace(req.Member)
	}
	if req.Leader == "" && req.Member == "" {
		return nil
	}
	found := &route.FailoverRequest{Leader: req.Leader, Candidate: req.Member}
	if req.ScheduledAt != "" {
		at, err := time.Parse(time.RFC3339Nano, req.ScheduledAt)
		if err != nil {
			// Without its time the request might act a day early: it is none.
			return fmt.Errorf("failover: scheduled_at: %w", err)
		}
		found.ScheduledAt = at
	}
	d.topo.Failover = found
	return nil
}

func (d *decoder) failsafe(value []byte) error {
	var peers map[string]string
	if err := json.Unmarshal(value, &peers); err != nil {
		return fmt.Errorf("failsafe: %w", err)
	}
	d.topo.FailsafePeers = peers
	return nil
}

// truthy is Patroni's parse_bool: operators write YAML, and "on" survives as text.
func truthy(raw json.RawMessage) bool {
	var v any
	if json.Unmarshal(raw, &v) != nil {
		return false
	}
	switch v := v.(type) {
	case bool:
		return v
	case float64:
		return v != 0
	case string:
		switch strings.ToLower(v) {
		case "true", "on", "yes", "1":
			return true
		}
	}
	return false
}

// given is Python's truth of a JSON value that is a host, a port or a command.
func given(raw json.RawMessage) bool {
	switch string(raw) {
	case "", "null", `""`, "0", "false":
		return false
	default:
		return true
	}
}

// address gives host:port of a conn_url. A member without one cannot be reached.
func address(connURL string) (string, error) {
	u, err := url.Parse(connURL)
	switch {
	case err != nil:
		// url.Error repeats the whole URL, which may hold a password.
		return "", errors.New("conn_url: not a URL")
	case u.Scheme != "postgres" && u.Scheme != "postgresql":
		return "", errors.New("conn_url: not a postgres:// URL")
	case u.Hostname() == "" || !hostname.MatchString(u.Hostname()):
		return "", errors.New("conn_url: no usable host")
	case u.Port() == "":
		return net.JoinHostPort(u.Hostname(), "5432"), nil
	default:
		return net.JoinHostPort(u.Hostname(), u.Port()), nil
	}
}

// hostname keeps what a dialer would misread out of addresses: names and
// numbers, IPv6 with or without a zone.
var hostname = regexp.MustCompile(`^[A-Za-z0-9._:%-]+$`)
