package cluster

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/hashicorp/memberlist"
)

// Cancel requests go to the node whose peer_id stands in their key. One packet of a
// client costs one connection to one peer, never more: nobody forwards what was
// forwarded, and there are bounds on both sides.
const (
	cancelBurst = 100                   // in one go
	cancelPace  = 20 * time.Millisecond // each, beyond that
	// maxCancels bounds those that are on their way to, or served for, one peer.
	maxCancels = 16
	maxSecret  = 256 // PostgreSQL's bound
)

// Errors of ForwardCancel.
var (
	ErrNoPeer = errors.New("no node that is here has this peer_id")
	ErrBusy   = errors.New("too many cancel requests")
)

// CancelRequest is PostgreSQL's, and where it came from.
type CancelRequest struct {
	ProcessID uint32
	Secret    []byte
	From      netip.Addr // of the client; invalid for a Unix socket
}

// cancelCall is a request on its way; the id is the sender's.
type cancelCall struct {
	id uint64
	CancelRequest
}

// cancelAnswer says that a request has been carried out, if it was right.
type cancelAnswer struct {
	id    uint64
	right bool
}

func (v cancelCall) append(b []byte) []byte {
	b = binary.AppendUvarint(b, v.id)
	b = binary.AppendUvarint(b, uint64(v.ProcessID))
	b = appendText(b, string(v.Secret))
	return appendText(b, string(v.From.AsSlice()))
}

func parseCancelCall(d *decoder) (cancelCall, error) {
	v := cancelCall{id: d.uint()}
	id := d.uint()
	v.ProcessID = uint32(id)
	v.Secret = []byte(d.text(maxSecret))
	from := d.text(16)
	ok := true
	if from != "" {
		v.From, ok = netip.AddrFromSlice([]byte(from))
	}
	if d.bad || !ok || id > 1<<32-1 {
		return cancelCall{}, errMessage
	}
	return v, nil
}

func (v cancelAnswer) append(b []byte) []byte {
	b = binary.AppendUvarint(b, v.id)
	if v.right {
		return append(b, 1)
	}
	return append(b, 0)
}

func parseCancelAnswer(d *decoder) (cancelAnswer, error) {
	v := cancelAnswer{id: d.uint()}
	right := d.byte()
	v.right = right == 1
	if d.bad || right > 1 {
		return cancelAnswer{}, errMessage
	}
	return v, nil
}

// cancels are the requests under way. The caller locks.
type cancels struct {
	next    uint64
	waiting map[uint64]pendingCancel
	paid    time.Duration // when all that were forwarded have been paid for
}

type pendingCancel struct {
	peer   string
	answer chan bool // has room for the one answer; never closed
}

// ForwardCancel has the node with this peer_id carry out a cancel request, and
// waits until it has; it reports whether the key was right. The error is ErrNoPeer,
// ErrBusy, ctx's or the network's.
func (c *Cluster) ForwardCancel(ctx context.Context, peerID int, r CancelRequest) (right bool, err error) {
	c.mu.Lock()
	m, err := c.admitCancelLocked(peerID, c.now())
	if err != nil {
		c.counters.CancelsRefused++
		c.mu.Unlock()
		return false, err
	}
	w := &c.cancels
	if w.waiting == nil {
		w.waiting = make(map[uint64]pendingCancel)
	}
	w.next++
	id, answer := w.next, make(chan bool, 1)
	w.waiting[id] = pendingCancel{peer: m.name, answer: answer}
	m.calling++
	c.counters.CancelsForwarded++
	body := cancelCall{id: id, CancelRequest: r}.append(c.beginLocked(kindCancel))
	node := m.node
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(w.waiting, id)
		m.calling--
	}()
	if err := c.list.SendReliable(node, body); err != nil {
		return false, err
	}
	select {
	case right := <-answer:
		return right, nil
	case <-ctx.Done():
		return false, ctx.Err()
	case <-c.ctx.Done():
		return false, c.ctx.Err()
	}
}

// admitCancelLocked finds the peer, if there is room and one more may go. Two nodes
// of one peer_id are none: a key does not say whose it is.
func (c *Cluster) admitCancelLocked(peerID int, now time.Duration) (*member, error) {
	var found *member
	for _, m := range c.members {
		if !m.alive || m.news.PeerID != peerID || peerID == 0 {
			continue
		}
		if found != nil {
			return nil, ErrNoPeer
		}
		found = m
	}
	if found == nil || peerID == c.options.PeerID {
		return nil, ErrNoPeer
	}
	w := &c.cancels
	if found.calling >= maxCancels || w.paid-now >= cancelBurst*cancelPace {
		return nil, ErrBusy
	}
	w.paid = max(w.paid, now) + cancelPace
	return found, nil
}

// serveCancelLocked carries out what a peer's client asks for, on a goroutine.
func (c *Cluster) serveCancelLocked(m *member, v cancelCall) {
	if c.options.Cancel == nil || !m.alive || m.serving >= maxCancels || c.ctx.Err() != nil {
		c.counters.CancelsRefused++ // its client is let go when it has waited enough
		return
	}
	m.serving++
	c.counters.CancelsServed++
	node := m.node
	c.running.Go(func() { c.serveCancel(m, node, v) })
}

func (c *Cluster) serveCancel(m *member, node *memberlist.Node, v cancelCall) {
	right := c.options.Cancel(v.CancelRequest)
	c.mu.Lock()
	m.serving--
	body := cancelAnswer{id: v.id, right: right}.append(c.beginLocked(kindCancelDone))
	c.mu.Unlock()
	if err := c.list.SendReliable(node, body); err != nil {
		c.count(func(n *Counters) { n.SendErrors++ })
	}
}

// answeredLocked passes an answer on to who waits for it.
func (c *Cluster) answeredLocked(m *member, v cancelAnswer) {
	w, ok := c.cancels.waiting[v.id]
	if !ok || w.peer != m.name {
		return
	}
	delete(c.cancels.waiting, v.id)
	w.answer <- v.right
}
