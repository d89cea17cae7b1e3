package console

import (
	"context"
	"strings"
	"time"
)

// ServerState is an operator's word about a server of the cluster: READY, DRAIN
// or MAINT, in lower case.
type ServerState string

// The three words.
const (
	ServerReady ServerState = "ready"
	ServerDrain ServerState = "drain"
	ServerMaint ServerState = "maint"
)

// Node is a row of SHOW NODES: a server of the cluster.
type Node struct {
	Name     string
	Addr     string
	Role     string
	State    string      // what its checks say
	Admin    ServerState // what operators want
	Writes   bool        // clients of the primary's port go there
	Reads    bool        // clients of the replicas' port go there
	Reason   string      // why neither
	Weight   int
	Throttle int // percent of weight and maxconn that count now
	LagBytes int64
	LagTime  time.Duration
	LagKnown bool

	Check     string // HAProxy's check_status
	Report    string // what the last check saw
	LastCheck time.Time
	Took      time.Duration
	Since     time.Time // of State
	Downs     uint64
	Downtime  time.Duration

	Readers  int // sessions of the replicas' port that go there
	Queue    int // clients that wait for one of its servers
	Active   int // servers in use
	Idle     int
	MaxConn  int // 0 is no limit
	Timeline uint32
	Epoch    uint64 // of the table, the same in all rows
}

func nodeColumns() []column {
	return join(columns(text, "name", "addr", "role", "state", "admin", "port", "reason"),
		columns(integer, "weight", "throttle"), columns(bigint, "lag_bytes", "lag_ms"),
		columns(text, "check", "last_chk"), columns(bigint, "checked_ms_ago", "check_ms"), columns(text, "since"),
		columns(bigint, "chkdown", "downtime"), columns(integer, "cl_reading", "cl_waiting", "sv_active", "sv_idle", "maxconn", "timeline"),
		columns(bigint, "epoch"))
}

func nodeRows(ctx context.Context, s *session) ([]row, error) {
	nodes, err := s.server.target.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	var rows []row
	for _, n := range nodes {
		rows = append(rows, n.row(time.Now()))
	}
	return rows, nil
}

func (n *Node) row(now time.Time) row {
	port := ""
	switch {
	case n.Writes && n.Reads:
		port = "primary, replicas"
	case n.Writes:
		port = "primary"
	case n.Reads:
		port = "replicas"
	}
	var bytes, lag, ago any // NULL where they are not known
	if n.LagKnown {
		bytes, lag = n.LagBytes, n.LagTime.Milliseconds()
	}
	since := ""
	if !n.Since.IsZero() {
		since = n.Since.UTC().Format("2006-01-02 15:04:05 UTC")
	}
	if !n.LastCheck.IsZero() {
		ago = now.Sub(n.LastCheck).Milliseconds()
	}
	return row{
		n.Name, n.Addr, n.Role, n.State, string(n.Admin), orNull(port), orNull(n.Reason), n.Weight, n.Throttle, bytes, lag,
		orNull(n.Check), orNull(n.Report), ago, n.Took.Milliseconds(), orNull(since), int64(n.Downs), int64(n.Downtime.Seconds()),
		n.Readers, n.Queue, n.Active, n.Idle, n.MaxConn, int(n.Timeline), int64(n.Epoch),
	}
}

// setServer carries out READY, DRAIN and MAINT.
func (s *session) setServer(c Command) error {
	return s.server.target.SetServer(c.Arg, ServerState(strings.ToLower(string(c.Verb))))
}
