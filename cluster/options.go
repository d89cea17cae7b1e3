package cluster

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// Bounds on what nodes say of themselves.
const (
	maxName    = 64
	maxBoot    = 64
	maxVersion = 64
	maxPeers   = 16
	maxPeerID  = 255
)

// Options are what a Cluster is made of.
type Options struct {
	Name       string // of this node, unique among all
	Scope      string // nodes of another scope are not listened to
	Boot       string // of this process: random, new with each start
	Version    string // of pgvip
	PeerID     int    // in this node's cancel keys; 0 without
	ConfigHash string // equal where what must be equal on all nodes is

	Address string // host:port, of UDP and TCP; the host is one of this node's own
	Keys    [][]byte
	Peers   []Peer

	Log *zap.Logger
	// Event is told what operators want to know of; nil for nobody. It must not
	// block.
	Event func(Event)
	// Cancel carries out a cancel request that came to a peer, and reports whether
	// it was right; nil refuses. It may block, and ends before Close does.
	Cancel func(CancelRequest) bool
	// Ledger is where limits are that all nodes have together; nil shares none.
	Ledger Ledger

	// filter loses what a test wants to be lost: packets and connections to an
	// address. nil loses nothing.
	filter func(to netip.AddrPort) bool
	// forget is when memberlist forgets the dead, for tests; 0 is its default.
	forget time.Duration
}

// Peer is another node of the configuration.
type Peer struct {
	Name    string
	Address string // host:port; a name is resolved again and again
}

// check gives the first fault that would keep a cluster from working; config has
// found those of a file before.
func (o *Options) check() error {
	if o.Name == "" || len(o.Name) > maxName {
		return fmt.Errorf("name %q: must have 1 to %d bytes", o.Name, maxName)
	}
	if o.Boot == "" || len(o.Boot) > maxBoot {
		return fmt.Errorf("boot must have 1 to %d bytes", maxBoot)
	}
	if len(o.Scope) > memberlist.LabelMaxSize {
		return fmt.Errorf("scope has more than %d bytes", memberlist.LabelMaxSize)
	}
	if _, _, err := net.SplitHostPort(o.Address); err != nil {
		return fmt.Errorf("address: %w", err)
	}
	if err := checkKeys(o.Keys); err != nil {
		return err
	}
	return checkPeers(o.Name, o.Peers)
}

func checkKeys(keys [][]byte) error {
	if len(keys) == 0 {
		return errors.New("no key: nodes know each other by it")
	}
	for i, k := range keys {
		if err := memberlist.ValidateKey(k); err != nil {
			return fmt.Errorf("key %d has %d bytes, must have 16, 24 or 32", i+1, len(k))
		}
	}
	return nil
}

func checkPeers(self string, peers []Peer) error {
	if len(peers) > maxPeers {
		return fmt.Errorf("%d peers, at most %d", len(peers), maxPeers)
	}
	seen := map[string]bool{self: true}
	for _, p := range peers {
		if p.Name == "" || len(p.Name) > maxName {
			return fmt.Errorf("peer %q: a name must have 1 to %d bytes", p.Name, maxName)
		}
		if seen[p.Name] {
			return fmt.Errorf("peer %q: a second node of this name", p.Name)
		}
		seen[p.Name] = true
		if _, _, err := net.SplitHostPort(p.Address); err != nil {
			return fmt.Errorf("peer %q: %w", p.Name, err)
		}
	}
	return nil
}
