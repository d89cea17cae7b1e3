package route

import (
	"fmt"
	"time"
)

// RESTAnswer is what Patroni's REST interface on one node said to GET /primary.
// Patroni answers 200 as soon as it holds the leader lock, whatever PostgreSQL
// does: an answer can keep a primary, and break a tie; it is never a proof.
type RESTAnswer struct {
	AskedAt  time.Time // when the question was sent
	Code     int       // HTTP status; 0 when there was no answer
	Primary  bool      // status 200: this node holds the leader lock
	Failsafe bool      // failsafe_mode_is_active
	Role     string    // Patroni's word, 3.x or 4.x
	State    string    // Patroni's word
	Timeline uint32
	SystemID string
	Refused  bool   // nobody listens there: Patroni is gone
	Err      string // why there was no answer, empty with one
}

// returning reports that the node has read from etcd that nobody holds the lock,
// and has not taken it back yet. Patroni answers 503 in between, for some tenths
// of a second, while PostgreSQL goes on as it did and the replicas still honour
// the leader's last call: as long as that counts, the flag is set (Patroni,
// Ha.load_cluster_from_dcs and Failsafe). One that gives up stops PostgreSQL.
func (a *RESTAnswer) returning() bool {
	primary := a.Role == "primary" || a.Role == "master" // Patroni 4, and before it
	return a.Code == 503 && a.Failsafe && primary && a.State == "running"
}

// said is the answer in a few words.
func (a *RESTAnswer) said() string {
	switch {
	case a.Err != "":
		return a.Err
	case a.Primary:
		return "it holds the leader lock without failsafe mode"
	default:
		return fmt.Sprintf("GET /primary gave %d", a.Code)
	}
}

// Ask is a question to Patroni on one node whose answer the next Build needs.
type Ask struct {
	Node  string    // member name
	URL   string    // scheme://host:port; empty when nobody knows where to ask
	Since time.Time // not to be asked before; answers to earlier questions do not count
	Until time.Time // an answer after this is worth nothing
}

// Answers are the last words of Patroni on each node, by member name.
type Answers map[string]RESTAnswer
