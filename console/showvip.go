package console

import (
	"context"
	"time"
)

// VIP is a row of SHOW VIP: one address of this node's virtual router.
type VIP struct {
	Address   string
	Interface string
	State     string
	Since     time.Time // of State; zero when it has never changed
	Holds     bool      // the address is on the interface
	Owner     string
	Epoch     int64
	Arbiter   string
	Until     time.Duration // how long the ownership may go on unconfirmed
	Priority  int
	Drained   bool // by an operator
	Reason    string
	KeeperPID int
	KeeperAge time.Duration // of its last beat; -1 before the first

	AdvertsSent     uint64
	AdvertsReceived uint64
	BecameActive    uint64
	GaveUp          uint64
	Refuted         uint64
	Announcements   uint64
	Readded         uint64
	Conflicts       uint64
	Tickled         uint64
}

// ClusterNode is a row of SHOW CLUSTER: a pgvip of the cluster.
type ClusterNode struct {
	Name       string
	Address    string
	Presence   string
	Since      time.Duration // how long it has been so
	Heard      time.Duration // how long ago its last message came; -1 for never
	Trouble    string
	State      string // of the virtual IP; "" without one
	Holds      bool
	Epoch      int64
	Clients    int // on the virtual IP
	Listening  bool
	Blind      bool
	Healthy    int
	Weight     int
	Fault      string
	Version    string
	PeerID     int
	SameConfig bool
	Uptime     time.Duration
}

func vipColumns() []column {
	return join(columns(text, "address", "interface", "state", "since"), columns(integer, "holds"), columns(text, "owner"),
		columns(bigint, "epoch"), columns(text, "arbiter"), columns(bigint, "until_ms"), columns(integer, "priority", "drained"),
		columns(text, "reason"), columns(integer, "keeper_pid"), columns(bigint, "keeper_ms_ago", "adverts_sent", "adverts_received",
			"became_active", "gave_up", "refuted", "announcements", "readded", "conflicts", "tickled"))
}

func vipRows(_ context.Context, s *session) ([]row, error) {
	var rows []row
	for _, v := range s.server.target.VIP() {
		since := ""
		if !v.Since.IsZero() {
			since = v.Since.UTC().Format("2006-01-02 15:04:05 UTC")
		}
		rows = append(rows, row{
			v.Address, v.Interface, v.State, orNull(since), v.Holds, orNull(v.Owner), v.Epoch, v.Arbiter, v.Until.Milliseconds(),
			v.Priority, v.Drained, orNull(v.Reason), v.KeeperPID, agoOrNull(v.KeeperAge),
			int64(v.AdvertsSent), int64(v.AdvertsReceived), int64(v.BecameActive), int64(v.GaveUp), int64(v.Refuted),
			int64(v.Announcements), int64(v.Readded), int64(v.Conflicts), int64(v.Tickled),
		})
	}
	return rows, nil
}

func clusterColumns() []column {
	return join(columns(text, "name", "address", "presence"), columns(bigint, "for_ms", "heard_ms_ago"),
		columns(text, "vip_state"), columns(integer, "vip_holds"), columns(bigint, "vip_epoch"), columns(integer, "vip_clients", "listening", "blind",
			"healthy_servers", "weight"), columns(text, "fault", "version"), columns(integer, "peer_id", "same_config"),
		columns(bigint, "uptime"), columns(text, "trouble"))
}

func clusterRows(_ context.Context, s *session) ([]row, error) {
	var rows []row
	for _, n := range s.server.target.Cluster() {
		rows = append(rows, row{
			n.Name, n.Address, n.Presence, n.Since.Milliseconds(), agoOrNull(n.Heard),
			orNull(n.State), n.Holds, n.Epoch, n.Clients, n.Listening, n.Blind, n.Healthy, n.Weight, orNull(n.Fault),
			orNull(n.Version), n.PeerID, n.SameConfig, int64(n.Uptime.Seconds()), orNull(n.Trouble),
		})
	}
	return rows, nil
}

// agoOrNull gives milliseconds, NULL for never.
func agoOrNull(d time.Duration) any {
	if d < 0 {
		return nil
	}
	return d.Milliseconds()
}
