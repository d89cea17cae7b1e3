package dcs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/connectivity"
)

// read is one linearizable read of the prefix.
type read struct {
	at       time.Time // when it was sent: what it says is no older
	cluster  uint64
	revision int64
	kvs      []KV
	err      error
}

// read asks once. A linearizable read is answered by a quorum or not at all.
func (f *follower) read(ctx context.Context, client *clientv3.Client) read {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	r := read{at: time.Now()}
	resp, err := client.Get(ctx, f.etcd.prefix, clientv3.WithPrefix())
	if err != nil {
		r.err = fmt.Errorf("read %s: %w", f.etcd.prefix, unanswered(client, err))
		return r
	}
	r.cluster, r.revision = resp.Header.ClusterId, resp.Header.Revision
	r.kvs = make([]KV, len(resp.Kvs))
	for i, kv := range resp.Kvs {
		r.kvs[i] = KV{Key: string(kv.Key), Value: kv.Value, ModRevision: kv.ModRevision}
	}
	return r
}

// unanswered says in a time-out, which is all that the client tells, whether
// there was anybody to ask.
func unanswered(client *clientv3.Client, err error) error {
	switch {
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case client.ActiveConnection().GetState() == connectivity.Ready:
		return fmt.Errorf("no answer within %v: %w", readTimeout, err)
	default:
		return fmt.Errorf("no connection within %v: %w", readTimeout, err)
	}
}

// readLoop reads each readEvery until ctx ends, and closes reads.
func (f *follower) readLoop(ctx context.Context, client *clientv3.Client, reads chan<- read) {
	defer close(reads)
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		select {
		case <-ctx.Done():
			return
		case reads <- f.read(ctx, client):
		}
	}
}

// resync takes the first read of a watch as it is, whatever was believed before.
func (f *follower) resync(r read) {
	again := f.keys.keys != nil
	f.keys.replace(r.cluster, r.revision, r.kvs)
	f.took(r)
	if again {
		f.etcd.count(func(s *Stats) { s.Resyncs++ })
	}
	f.publish(r.at, 0)
}

// confirm takes a later read. It reports whether the read saw a change that the
// watch had not told of.
func (f *follower) confirm(r read) (ahead bool) {
	// The watch may have run on while the read was under way.
	if r.revision > f.keys.revision {
		ahead = f.keys.replace(r.cluster, r.revision, r.kvs)
	}
	f.took(r)
	if ahead {
		f.etcd.count(func(s *Stats) { s.Unwatched++ })
	}
	f.publish(r.at, 0)
	return ahead
}

// restored reports that r comes from another store than the reads before, or
// from one that was set back.
func (f *follower) restored(r read) bool {
	last := f.lastRead
	return last.revision != 0 && (r.cluster != last.cluster || r.revision < last.revision)
}

// took notes that r answered.
func (f *follower) took(r read) {
	r.kvs = nil
	f.lastRead = r
	f.etcd.count(func(s *Stats) {
		s.Reads++
		s.LastRead, s.LastErr = latest(s.LastRead, r.at), ""
		s.Following[f.place].LastRead, s.Following[f.place].Err = r.at, ""
	})
}
