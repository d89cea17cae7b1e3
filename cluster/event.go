package cluster

// EventKind says what happened to a node.
type EventKind string

// Kinds of events.
const (
	PeerJoined      EventKind = "joined"      // it is here, for the first time or again
	PeerLeft        EventKind = "left"        // it has said goodbye
	PeerUnreachable EventKind = "unreachable" // it answers nobody
	PeerRefused     EventKind = "refused"     // somebody is there who is not admitted, or who does not admit this node
	NameTaken       EventKind = "name taken"  // another node goes by this node's name
)

// Event is something that operators want to know of: a line of the log and of the
// timeline.
type Event struct {
	Kind EventKind
	Node string
	Warn bool
	Text string
}
