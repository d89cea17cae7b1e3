package instance

// Action is what the runtime is to do: a SendAdvert, AddAddresses, DropAddresses,
// Announce or Note. They are done in the order in which they were returned.
type Action interface{ action() }

// SendAdvert sends one advert of this priority to all destinations; 0 says that this
// router leaves.
type SendAdvert struct{ Priority uint8 }

// AddAddresses puts the addresses on the interface and keeps them there until
// DropAddresses.
type AddAddresses struct{}

// DropAddresses takes the addresses off the interface, and ends announcements.
type DropAddresses struct{}

// Announce tells the network where the addresses are, by gratuitous ARP or
// unsolicited NA. Rival says that it answers another router's claim, which can come
// often: then the runtime may hold back.
type Announce struct{ Rival bool }

// Note is an event for the log and the timeline.
type Note struct {
	Kind  string // as beat.Event's: "state", "peer", "conflict"
	Warn  bool
	State State // the new one, of kind "state"
	Text  string
}

func (SendAdvert) action()    {}
func (AddAddresses) action()  {}
func (DropAddresses) action() {}
func (Announce) action()      {}
func (Note) action()          {}

// State is that of a virtual router (RFC 9568, section 6.4); Fault is keepalived's.
// Values are those of beat.State.
type State string

// States.
const (
	Initialize State = "INIT"
	Backup     State = "BACKUP"
	Active     State = "ACTIVE"
	Fault      State = "FAULT"
)
