package owner

import "time"

// Kind is what a message says.
type Kind uint8

// Kinds of message.
const (
	Ping    Kind = iota + 1 // I am here; the owner's wants an Ack
	Ack                     // I heard your ping and shall not claim while it lasts
	Release                 // I have removed the address and this term is over
	Offer                   // take the address from me
)

// Message is what nodes tell each other on the sealed paths. It is small and may be
// lost, late, repeated or out of order.
type Message struct {
	Kind Kind   `json:"k"`
	Boot string `json:"b,omitempty"` // of the pinging node, also in its Ack
	Term int64  `json:"t,omitempty"` // Ping: what the sender believes in
	Seq  uint64 `json:"s,omitempty"` // of a Ping, also in its Ack

	// Taken is when the sender took Term, as owner; or what Done or a Release is about.
	Taken time.Duration `json:"T,omitempty"`

	Owner bool `json:"o,omitempty"` // Ping: the sender owns Term
	Holds bool `json:"h,omitempty"` // Ping: and has the address
	Short bool `json:"S,omitempty"` // Ping: it counts on no more than Config.Grant
	// Dark says that the sender has had no answer of etcd for a while.
	Dark bool `json:"d,omitempty"`
	// DarkFor is for how long that has been so.
	DarkFor time.Duration `json:"df,omitempty"`

	Grant time.Duration `json:"g,omitempty"` // Ack: from the ping's sending

	// Done is the last term that the sender has released: releases may get lost.
	Done int64 `json:"D,omitempty"` // Ping

	Fitness  Fitness `json:"f"`
	Priority int     `json:"p,omitempty"` // effective
	Wants    bool    `json:"w,omitempty"` // Ping: preempt_delay has passed
}
