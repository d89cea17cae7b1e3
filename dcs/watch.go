package dcs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"
)

// errWatch marks the end of a watch on a client that may still be good.
var errWatch = errors.New("watch ended")

// follow reads everything, then watches from the next revision, confirming what
// it has by a read each second, until the watch or the client fails.
func (f *follower) follow(ctx context.Context, client *clientv3.Client) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the watch
	first := f.read(ctx, client)
	if first.err != nil {
		f.etcd.count(func(s *Stats) { s.Missed++ })
		return fmt.Errorf("etcd %s: %w", f.endpoint(), first.err)
	}
	f.resync(first)
	watch, err := f.watch(ctx, cancel, client)
	if err != nil {
		return err
	}
	reads := make(chan read) // closed by readLoop on return
	go f.readLoop(ctx, client, reads)
	defer func() {
		cancel()
		for range reads { // until readLoop has returned
		}
	}()
	return f.apply(ctx, watch, reads)
}

// watch begins to watch from the revision after the keyspace's. cancel ends ctx.
func (f *follower) watch(ctx context.Context, cancel func(), client *clientv3.Client) (clientv3.WatchChan, error) {
	// Watch returns when the server has confirmed it; a member that froze since
	// the read would keep it waiting for ever.
	late := time.AfterFunc(readTimeout, cancel)
	// Without a leader a member would serve silence for ever.
	watch := client.Watch(clientv3.WithRequireLeader(ctx), f.etcd.prefix, clientv3.WithPrefix(),
		clientv3.WithRev(f.keys.revision+1), clientv3.WithPrevKV(), clientv3.WithProgressNotify())
	if !late.Stop() {
		return nil, fmt.Errorf("etcd %s: watch: no answer within %v: %w", f.endpoint(), readTimeout,
			context.DeadlineExceeded)
	}
	return watch, nil
}

// apply takes events and reads as they come.
func (f *follower) apply(ctx context.Context, watch clientv3.WatchChan, reads <-chan read) error {
	missed, behind := 0, false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case resp, ok := <-watch:
			if !ok || resp.Err() != nil {
				return f.watchEnded(watchErr(resp))
			}
			f.events(resp)
			behind = behind && len(resp.Events) == 0
		case r, ok := <-reads:
			switch {
			case !ok:
				return ctx.Err()
			case r.err != nil:
				f.etcd.count(func(s *Stats) { s.Missed++ })
				if missed++; missed >= maxMissed {
					return fmt.Errorf("etcd %s: %d reads missed: %w", f.endpoint(), missed, r.err)
				}
				continue
			case f.restored(r):
				return f.watchEnded(errors.New("the store was replaced"))
			case behind:
				return f.watchEnded(errors.New("it was silent about a change"))
			}
			missed, behind = 0, f.confirm(r)
		}
	}
}

func (f *follower) watchEnded(why error) error {
	return fmt.Errorf("etcd %s: %w: %w", f.endpoint(), errWatch, why)
}

// watchErr says why a watch ended; a closed channel says nothing by itself.
func watchErr(resp clientv3.WatchResponse) error {
	if err := resp.Err(); err != nil {
		return err // compaction and cancellation among them
	}
	return errors.New("closed")
}

// events applies a watch response, one revision after the other: a key that was
// deleted in one and written in the next has been away, and what may follow
// from that must not depend on how etcd packs its responses.
func (f *follower) events(resp clientv3.WatchResponse) {
	for evs := resp.Events; len(evs) > 0; {
		revision := evs[0].Kv.ModRevision
		var batch []event
		for len(evs) > 0 && evs[0].Kv.ModRevision == revision {
			kv := evs[0].Kv
			batch = append(batch, event{
				kv:      KV{Key: string(kv.Key), Value: kv.Value, ModRevision: revision},
				deleted: evs[0].Type == clientv3.EventTypeDelete,
			})
			evs = evs[1:]
		}
		if f.keys.apply(revision, batch) {
			f.publish(time.Time{}, len(batch))
		}
	}
}
