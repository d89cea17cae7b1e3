package cluster

import (
	"context"
	"fmt"
	"log"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

const (
	// tick is how often a node says what has changed.
	tick      = 50 * time.Millisecond
	wakePause = 5 * time.Millisecond
	// reportPause and reportInterval are how soon and how often a node tells of
	// itself, whether something has changed or not.
	reportPause    = 100 * time.Millisecond
	reportInterval = time.Second
	// wantPause is how often what is missing is asked for again.
	wantPause = 200 * time.Millisecond
	// maxDatagram is the largest message that goes by UDP: with memberlist's part it
	// fits an Ethernet frame.
	maxDatagram = 1200
	// maxBulk bounds the connections to one peer for larger messages. What finds none
	// is dropped, and asked for again by who misses it.
	maxBulk = 4
	// leaveTimeout bounds each of the steps of a goodbye, adviseTimeout the waiting
	// for new metadata to be on its way.
	leaveTimeout  = time.Second
	adviseTimeout = 300 * time.Millisecond
)

// protocol is our messages' version. A node takes part with those whose range
// includes its own.
const protocol = 1

// Cluster is this node's part in the cluster, from New to Close.
type Cluster struct {
	// Immutable after New.
	options   Options
	start     time.Time
	roster    roster
	ring      *memberlist.Keyring
	transport *transport
	list      *memberlist.Memberlist
	lines     *logWriter

	ctx     context.Context
	stop    context.CancelFunc
	running sync.WaitGroup
	wake    chan struct{} // one token: there is something to say; never closed
	renew   chan struct{} // one token: memberlist is to advertise again; never closed
	parting chan struct{} // one token: a peer has heard our goodbye; never closed
	rejoin  chan struct{} // one token: look for missing peers now; never closed

	mu         sync.Mutex
	members    map[string]*member // guarded by mu; peers that have been heard of
	status     Status             // guarded by mu
	configHash string             // guarded by mu
	seq        uint64             // guarded by mu; of the last change of status
	told       uint64             // guarded by mu; the seq that peers were told
	toldAt     time.Duration      // guarded by mu
	leaving    bool               // guarded by mu
	shares     shares             // has a mutex of its own

	cancels  cancels             // guarded by mu
	flows    published           // guarded by mu
	counters Counters            // guarded by mu
	refusals map[string]*refusal // guarded by mu; by their text
}

// New listens, and looks for the peers from then on.
func New(o Options) (*Cluster, error) {
	if err := o.check(); err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	o.Version = cut(o.Version, maxVersion)
	self, err := bindAddress(o.Address)
	if err != nil {
		return nil, fmt.Errorf("cluster: address %s: %w", o.Address, err)
	}
	c := &Cluster{
		options: o, start: time.Now(), configHash: o.ConfigHash, seq: 1,
		lines:   &logWriter{log: o.Log},
		members: make(map[string]*member), refusals: make(map[string]*refusal),
		wake: make(chan struct{}, 1), renew: make(chan struct{}, 1), rejoin: make(chan struct{}, 1),
		parting: make(chan struct{}, 1),
	}
	c.roster.set(o.Peers)
	if o.Ledger != nil {
		c.shares.ledger = o.Ledger
		c.shares.machine = newSharer(o.Name, o.Boot, c.roster.names(), 0)
	}
	if c.ring, err = memberlist.NewKeyring(o.Keys, o.Keys[0]); err != nil {
		return nil, fmt.Errorf("cluster: keys: %w", err)
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	if c.transport, err = newTransport(self, c.roster.admits, o.filter); err != nil {
		c.stop()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	if c.list, err = memberlist.Create(c.memberConfig()); err != nil {
		c.stop()
		c.transport.Shutdown()
		return nil, fmt.Errorf("cluster: %w", err)
	}
	c.running.Go(c.run)
	c.running.Go(c.advertise)
	c.running.Go(c.seek)
	return c, nil
}

// memberConfig is memberlist's with times for a handful of nodes in one network: a
// peer that is gone is known within half a second.
func (c *Cluster) memberConfig() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name, m.Label = c.options.Name, c.options.Scope
	m.Transport, m.Keyring = c.transport, c.ring
	m.Logger = log.New(c.lines, "", 0)

	m.ProbeInterval, m.ProbeTimeout = 100*time.Millisecond, 50*time.Millisecond
	// With a multiplier of 2 no confirmation is waited for, which two or three nodes
	// could not give; with maxima of 1 no time grows beyond what is said here.
	m.SuspicionMult, m.SuspicionMaxTimeoutMult, m.AwarenessMaxMultiplier = 2, 1, 1
	m.IndirectChecks, m.RetransmitMult = 1, 4
	m.GossipInterval = 50 * time.Millisecond
	m.TCPTimeout = 500 * time.Millisecond
	m.PushPullInterval = 5 * time.Second
	m.DeadNodeReclaimTime = 100 * time.Millisecond
	if c.options.forget > 0 {
		m.GossipToTheDeadTime = c.options.forget
	}
	m.EnableCompression = false // addresses and sealed bytes: nothing to win

	m.DelegateProtocolMin, m.DelegateProtocolMax, m.DelegateProtocolVersion = protocol, protocol, protocol
	d := &delegate{c}
	m.Delegate, m.Events, m.Alive = d, d, d
	return m
}

// now is the time since this process's cluster began.
func (c *Cluster) now() time.Duration { return time.Since(c.start) }

// Close says goodbye and ends all that New began.
func (c *Cluster) Close() {
	c.goodbye()
	_ = c.list.Leave(leaveTimeout) // it only fails when nobody could be told
	c.end()
}

// goodbye tells the peers until all have heard it: memberlist's own word for it does
// not come with what we are told.
func (c *Cluster) goodbye() {
	c.mu.Lock()
	c.leaving = true
	c.mu.Unlock()
	deadline := time.NewTimer(leaveTimeout)
	defer deadline.Stop()
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		c.mu.Lock()
		var deaf []message
		for _, m := range c.toAllLocked(c.reportLocked(c.now())) {
			if !c.members[m.to.Name].parted {
				deaf = append(deaf, m)
			}
		}
		c.mu.Unlock()
		if len(deaf) == 0 {
			return
		}
		c.send(deaf)
		select {
		case <-t.C:
		case <-c.parting:
		case <-deadline.C:
			return
		}
	}
}

// end is Close without a word.
func (c *Cluster) end() {
	c.mu.Lock()
	c.stop()
	c.mu.Unlock()
	_ = c.list.Shutdown() // it logs
	c.running.Wait()
	c.lines.close()
}

// Reload replaces keys and peers, and the hash of the configuration they are of. An
// error changes nothing.
func (c *Cluster) Reload(keys [][]byte, peers []Peer, configHash string) error {
	if err := checkKeys(keys); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	if err := checkPeers(c.options.Name, peers); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	c.roster.set(peers)
	if err := c.setKeys(keys); err != nil {
		return fmt.Errorf("cluster: keys: %w", err)
	}
	c.mu.Lock()
	c.configHash = configHash
	c.seq++
	c.mu.Unlock()
	poke(c.wake)
	poke(c.rejoin)
	return nil
}

// setKeys makes the ring hold these keys; the first seals what is sent.
func (c *Cluster) setKeys(keys [][]byte) error {
	for _, k := range keys {
		if err := c.ring.AddKey(k); err != nil {
			return err
		}
	}
	if err := c.ring.UseKey(keys[0]); err != nil {
		return err
	}
	for _, old := range slices.Clone(c.ring.GetKeys()) {
		if !slices.ContainsFunc(keys, func(k []byte) bool { return string(k) == string(old) }) {
			if err := c.ring.RemoveKey(old); err != nil {
				return err
			}
		}
	}
	return nil
}

// SetStatus replaces what the other nodes are told of this one.
func (c *Cluster) SetStatus(s Status) {
	c.mu.Lock()
	changed := s.VIP != c.status.VIP || s.Fitness != c.status.Fitness
	c.status = s
	if changed {
		c.seq++
	}
	c.mu.Unlock()
	if changed {
		poke(c.wake)
		poke(c.renew)
	}
}

// Publish tells of clients that have come to the virtual IP, and of such that have
// gone. It does not block.
func (c *Cluster) Publish(opened, closed []Flow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flows.change(opened, closed)
}

// FlowsOf gives the clients that a node had on the virtual IP when it was last
// heard. They are remembered for a minute after it has gone; those of the process
// before for a minute after a node has started anew. The list is the caller's.
func (c *Cluster) FlowsOf(node string) []Flow {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[node]
	if m == nil {
		return nil
	}
	return m.flows.all()
}

// poke leaves a token in a channel that has room for one.
func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// run says what has changed, tick by tick.
func (c *Cluster) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-c.wake:
		case <-c.ctx.Done():
			return
		}
		now := c.now()
		c.send(c.turn(now))
		c.send(c.shareTurn(now))
		select { // however often somebody wakes us
		case <-time.After(wakePause):
		case <-c.ctx.Done():
		}
	}
}

// turn gives the messages that are due.
func (c *Cluster) turn(now time.Duration) []message {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []message
	if delta, ok := c.flows.delta(); ok {
		out = append(out, c.toAllLocked(delta.append(c.beginLocked(kindFlows)))...)
	}
	since := now - c.toldAt
	if since >= reportInterval || c.told != c.seq && since >= reportPause || c.toldAt == 0 {
		c.told, c.toldAt = c.seq, now
		out = append(out, c.toAllLocked(c.reportLocked(now))...)
	}
	for _, m := range c.members {
		if m.alive && m.flows.behind() && now-m.wanted >= wantPause {
			m.wanted = now
			out = append(out, message{to: m.node, body: c.beginLocked(kindWantFlows)})
		}
		m.flows.forget(now, m.gone())
	}
	return out
}

// beginLocked begins a message of this node.
func (c *Cluster) beginLocked(k kind) []byte {
	return header{kind: k, from: c.options.Name, boot: c.options.Boot}.append(nil)
}

func (c *Cluster) reportLocked(now time.Duration) []byte {
	return report{
		Seq: c.seq, Version: c.options.Version, PeerID: c.options.PeerID, ConfigHash: c.configHash,
		UptimeMS: now.Milliseconds(), Shares: c.shares.ledger != nil, FlowSeq: c.flows.seq, Leaving: c.leaving, Status: c.status.bounded(),
	}.append(c.beginLocked(kindReport))
}

// message is something to be sent.
type message struct {
	to       *memberlist.Node
	body     []byte
	reliable bool
}

func (c *Cluster) toAllLocked(body []byte) []message {
	var list []message
	for _, m := range c.members {
		if m.alive {
			list = append(list, message{to: m.node, body: body})
		}
	}
	return list
}

// send sends messages: small ones by UDP, others by TCP on goroutines of their own.
// The caller holds no lock, for memberlist has its own.
func (c *Cluster) send(list []message) {
	for _, m := range list {
		if !m.reliable && len(m.body) <= maxDatagram {
			if err := c.list.SendBestEffort(m.to, m.body); err != nil {
				c.count(func(n *Counters) { n.SendErrors++ })
			}
			continue
		}
		c.sendBulk(m)
	}
}

// sendBulk sends by TCP, unless too many such messages are on their way to the peer.
func (c *Cluster) sendBulk(m message) {
	c.mu.Lock()
	peer := c.members[m.to.Name]
	if peer == nil || peer.bulk >= maxBulk || c.ctx.Err() != nil {
		c.counters.SendErrors++
		c.mu.Unlock()
		return
	}
	peer.bulk++
	// Under mu, so that none begins once end waits.
	c.running.Go(func() {
		err := c.list.SendReliable(m.to, m.body)
		c.mu.Lock()
		defer c.mu.Unlock()
		peer.bulk--
		if err != nil {
			c.counters.SendErrors++
		}
	})
	c.mu.Unlock()
}

func (c *Cluster) count(f func(*Counters)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.counters)
}

// event tells whoever wants to know. The caller does not hold mu.
func (c *Cluster) event(e Event) {
	if c.options.Event != nil && c.ctx.Err() == nil {
		c.options.Event(e)
	}
}

// advertise has memberlist spread this node's metadata when it has changed.
func (c *Cluster) advertise() {
	for {
		select {
		case <-c.renew:
			_ = c.list.UpdateNode(adviseTimeout) // nobody there to be told
		case <-c.ctx.Done():
			return
		}
		select { // changes come in crowds
		case <-time.After(reportPause):
		case <-c.ctx.Done():
			return
		}
	}
}

// Self is where this node listens.
func (c *Cluster) Self() netip.AddrPort { return c.transport.self }
