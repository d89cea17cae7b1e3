package arbiter

import (
	"context"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/pgvip/pgvip/vrrp/owner"
)

// copyOf is what a watch has told so far.
type copyOf struct {
	arbiter *Arbiter
	keys    owner.Snapshot
	behind  bool // a read has seen more, and the watch has told of nothing since
}

func watched(s owner.Snapshot) Event { return Event{Kind: Watched, Reply: owner.Reply{Snapshot: s}} }

// store is the part of a snapshot's revision that counts stores.
func storeOf(s owner.Snapshot) int64 { return s.Revision >> storeBits << storeBits }

// watch follows the keys from first on, with a read each confirmEvery beside it,
// until one of them fails. cancel ends ctx.
func (l *link) watch(ctx context.Context, cancel func(), client *clientv3.Client, first owner.Snapshot) error {
	// Watch returns when the member has confirmed it; one that froze since the read
	// would keep it waiting for ever.
	late := time.AfterFunc(Timeout, cancel)
	// Without a leader a member would serve silence for ever.
	events := client.Watch(clientv3.WithRequireLeader(ctx), Prefix(l.arbiter.opt.Cluster),
		clientv3.WithPrefix(), clientv3.WithRev(first.Revision-storeOf(first)+1))
	if !late.Stop() {
		return fmt.Errorf("watch: no answer within %v", Timeout)
	}
	c := copyOf{arbiter: l.arbiter, keys: first}
	reads := make(chan owner.Snapshot) // closed by confirm on return
	go l.confirm(ctx, client, reads)
	defer func() {
		cancel()
		for range reads { // until confirm has returned
		}
	}()
	for {
		select {
		case resp, ok := <-events:
			if err := watchErr(resp, ok); err != nil {
				return err
			}
			c.apply(resp)
		case k, ok := <-reads:
			if !ok {
				return fmt.Errorf("%d requests without an answer within %v", maxMissed, Timeout)
			}
			if err := c.check(k); err != nil {
				return err
			}
		}
	}
}

// confirm reads until ctx ends, which is also when requests have gone unanswered.
func (l *link) confirm(ctx context.Context, client *clientv3.Client, reads chan<- owner.Snapshot) {
	defer close(reads)
	tick := time.NewTicker(confirmEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		k, err := l.read(ctx, client)
		if err != nil {
			continue // it is counted
		}
		select {
		case reads <- k:
		case <-ctx.Done():
			return
		}
	}
}

// watchErr says why a watch ended; a closed channel says nothing by itself.
func watchErr(resp clientv3.WatchResponse, ok bool) error {
	if err := resp.Err(); err != nil {
		return fmt.Errorf("watch: %w", err) // compaction and cancellation among them
	}
	if !ok {
		return errClosed
	}
	return nil
}

// apply takes a response, which has whole revisions.
func (c *copyOf) apply(resp clientv3.WatchResponse) {
	ours := false
	for _, ev := range resp.Events {
		// Not the response's own revision, which may be ahead of its events.
		c.keys.Revision = max(c.keys.Revision, storeOf(c.keys)+ev.Kv.ModRevision)
		put := ev.Type == clientv3.EventTypePut
		switch string(ev.Kv.Key) {
		case c.arbiter.record:
			c.keys.Record = owner.Record{}
			if put {
				c.keys.Record = recordOf(ev.Kv.Value, ev.Kv.ModRevision)
			}
		case c.arbiter.claim:
			c.keys.Claim = owner.Claim{}
			if put {
				c.keys.Claim = claimOf(ev.Kv.Value, ev.Kv.ModRevision)
			}
		case c.arbiter.notice:
			if put {
				c.arbiter.opt.Deliver(Event{Kind: Told, Notice: ev.Kv.Value})
			}
			continue
		default:
			continue
		}
		ours = true
	}
	if ours {
		c.behind = false
		c.arbiter.opt.Deliver(watched(c.keys))
	}
}

// check compares a read with what the watch has told, and delivers it.
func (c *copyOf) check(k owner.Snapshot) error {
	if storeOf(k) != storeOf(c.keys) {
		return errReplaced
	}
	c.arbiter.opt.Deliver(watched(k))
	if k.Revision <= c.keys.Revision || k.Record.Mod == c.keys.Record.Mod && k.Claim.Mod == c.keys.Claim.Mod {
		c.behind = false
		return nil
	}
	if c.behind {
		return errSilent
	}
	c.behind = true
	return nil
}
