package cluster

import (
	"encoding/json"

	"github.com/hashicorp/memberlist"
)

// Status is what a node says of itself: plain values that the rest of pgvip sets.
type Status struct {
	Fitness Fitness `json:"fitness"`
	VIP     VIP     `json:"vip"`
	// Counters are a few numbers of the page, by short names; at most MaxCounters.
	Counters map[string]uint64 `json:"counters,omitempty"`
}

// MaxCounters bounds Status.Counters; what is beyond is left out.
const MaxCounters = 32

// Fitness is how well a node could serve clients (rule 42).
type Fitness struct {
	Listening bool   `json:"listening"` // client ports accept
	Blind     bool   `json:"blind"`     // it has no news of the cluster
	Healthy   int    `json:"healthy"`   // servers that are up
	Weight    int    `json:"weight"`    // of track scripts
	Fault     string `json:"fault,omitempty"`
}

// VIP is a node's part in the virtual IP.
type VIP struct {
	State   string `json:"state,omitempty"` // INIT, BACKUP, ACTIVE, FAULT; "" without a virtual IP
	Holds   bool   `json:"holds"`           // the address is on its interface
	Epoch   int64  `json:"epoch,omitempty"`
	Address string `json:"address,omitempty"` // the first one
}

// report is the body of kindReport: all there is to say, newest last.
type report struct {
	Seq        uint64 `json:"n"`
	Version    string `json:"version"`
	PeerID     int    `json:"peer_id"`
	ConfigHash string `json:"config_hash"`
	UptimeMS   int64  `json:"uptime_ms"`
	FlowSeq    uint64 `json:"flow_seq"`
	Shares     bool   `json:"shares"`
	Leaving    bool   `json:"leaving,omitempty"`
	Status
}

// meta is what memberlist carries along with every word that a node lives.
type meta struct {
	Seq     uint64  `json:"n"`
	Boot    string  `json:"b"`
	Version string  `json:"v"`
	PeerID  int     `json:"p"`
	Fitness Fitness `json:"f"`
	VIP     VIP     `json:"s"`
}

// encode makes at most limit bytes of it, and leaves out what is longest if need be.
func (m meta) encode(limit int) []byte {
	b, _ := json.Marshal(m) // plain values: it cannot fail
	if len(b) > limit {
		m.Fitness.Fault = "?"
		b, _ = json.Marshal(m)
	}
	if len(b) > limit {
		m.Version, m.VIP.Address, m.VIP.State = "", "", ""
		b, _ = json.Marshal(m)
	}
	if len(b) > limit {
		return nil
	}
	return b
}

func parseMeta(b []byte) (meta, error) {
	var m meta
	if len(b) > memberlist.MetaMaxSize {
		return m, errMessage
	}
	if err := json.Unmarshal(b, &m); err != nil || m.Boot == "" || len(m.Boot) > maxBoot || !validPeer(m.PeerID) {
		return meta{}, errMessage
	}
	m.Version = cut(m.Version, maxVersion)
	return m, nil
}

// maxReport bounds a report: 32 counters are below 3 kB.
const maxReport = 8 << 10

func (r report) append(b []byte) []byte {
	text, _ := json.Marshal(r)
	return append(b, text...)
}

func parseReport(b []byte) (report, error) {
	var r report
	if len(b) > maxReport {
		return r, errMessage
	}
	if err := json.Unmarshal(b, &r); err != nil || !validPeer(r.PeerID) || len(r.Counters) > MaxCounters {
		return report{}, errMessage
	}
	r.Version, r.ConfigHash = cut(r.Version, maxVersion), cut(r.ConfigHash, maxVersion)
	return r, nil
}

func validPeer(id int) bool { return id >= 0 && id <= maxPeerID }

func cut(s string, most int) string { return s[:min(len(s), most)] }
