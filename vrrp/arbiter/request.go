package arbiter

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/pgvip/pgvip/vrrp/owner"
)

const (
	// How many requests may be under way, so that an etcd that does not answer
	// costs no more than this. A read may take two goroutines.
	maxReads  = 3
	maxWrites = 2

	// hedge is after how long a read is sent to the other member too.
	hedge = 60 * time.Millisecond
)

// ErrBusy says that too many requests wait for etcd: this one was not sent.
var ErrBusy = errors.New("arbiter: too many requests under way")

// free is a guard that asks for nothing.
const free int64 = -1

// reading asks for both keys and nothing else.
var reading = owner.Request{RecordMod: free, ClaimMod: free}

// Do carries a request out. The answer comes as an Event of its ID, unless there is an error.
func (a *Arbiter) Do(r owner.Request) error {
	if r.PutRecord == nil && r.PutClaim == nil && !r.DeleteClaim {
		return a.begin(r, &a.reads, maxReads, a.read)
	}
	return a.begin(r, &a.writes, maxWrites, a.write)
}

// Tell has every node that watches, this one too, told a notice. Nobody answers,
// and it may be lost.
func (a *Arbiter) Tell(notice []byte) {
	// A second one meanwhile says the same, or comes again.
	_ = a.begin(owner.Request{}, &a.tells, 1, func(ctx context.Context, _ owner.Request) owner.Reply {
		if links, err := a.wait(ctx); err == nil {
			_, _ = links[0].client.Put(ctx, a.notice, string(notice))
		}
		return owner.Reply{}
	})
}

// asker carries a request out, and waits for it.
type asker func(context.Context, owner.Request) owner.Reply

// begin runs a request on a goroutine unless too many are running; the counter
// is guarded by mu.
func (a *Arbiter) begin(r owner.Request, running *int, most int, ask asker) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ctx == nil || *running >= most {
		return ErrBusy
	}
	*running++
	timeout := Timeout
	if r.Timeout > 0 {
		timeout = min(timeout, r.Timeout)
	}
	ctx, cancel := context.WithTimeout(a.ctx, timeout)
	a.running.Go(func() {
		defer cancel()
		reply := ask(ctx, r)
		a.mu.Lock()
		*running--
		a.mu.Unlock()
		if running != &a.tells {
			a.opt.Deliver(Event{Kind: Answered, ID: r.ID, Reply: reply})
		}
	})
	return nil
}

// read asks the best link, and soon the other one too. The first answer counts.
func (a *Arbiter) read(ctx context.Context, r owner.Request) owner.Reply {
	links, err := a.wait(ctx)
	if err != nil {
		return owner.Reply{Err: err}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan owner.Reply, maxLinks) // room for all, so that no asker is left behind
	asked := 0
	ask := func() {
		l := links[asked]
		asked++
		a.running.Go(func() { answers <- l.ask(ctx, r) })
	}
	ask()
	late := time.NewTimer(hedge)
	defer late.Stop()
	var last owner.Reply
	for came := 0; came < asked; {
		select {
		case last = <-answers:
			if came++; last.Err == nil {
				return last
			}
			if asked < len(links) {
				ask()
			}
		case <-late.C:
			if asked < len(links) {
				ask()
			}
		}
	}
	return last
}

func (a *Arbiter) write(ctx context.Context, r owner.Request) owner.Reply {
	links, err := a.wait(ctx)
	if err != nil {
		return owner.Reply{Err: err}
	}
	return links[0].ask(ctx, r)
}

// wait gives the links that work, the one that answered last in front. While
// there is none it waits.
func (a *Arbiter) wait(ctx context.Context) ([]use, error) {
	for {
		links, changed := a.working()
		if len(links) > 0 {
			return links, nil
		}
		select {
		case <-ctx.Done():
			return nil, errors.New("arbiter: no connection to etcd")
		case <-changed:
		}
	}
}

func (a *Arbiter) working() ([]use, <-chan struct{}) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var links []*link
	for _, l := range a.links {
		if l.client != nil {
			links = append(links, l)
		}
	}
	slices.SortStableFunc(links, func(x, y *link) int {
		return cmp.Or(cmp.Compare(x.missed, y.missed), cmp.Compare(y.heard, x.heard))
	})
	uses := make([]use, len(links))
	for i, l := range links {
		uses[i] = use{l, l.client}
	}
	return uses, a.changed
}

// use is a link with the client that it had when it was chosen.
type use struct {
	link   *link
	client *clientv3.Client
}

// ask carries a request out over one link.
func (u use) ask(ctx context.Context, r owner.Request) owner.Reply {
	a := u.link.arbiter
	changes, err := a.changes(r)
	if err != nil {
		return owner.Reply{Err: err}
	}
	sent, before := a.opt.Now(), a.storeNow()
	resp, err := u.client.Txn(ctx).If(a.guards(r)...).Then(changes...).Else(a.gets()...).Commit()
	u.link.answered(u.client, sent, err)
	if err != nil {
		return owner.Reply{Err: err}
	}
	snapshot := a.snapshot(resp)
	snapshot.Revision, err = a.admit(before, resp.Header.ClusterId, resp.Header.Revision)
	return owner.Reply{Snapshot: snapshot, Committed: resp.Succeeded, Err: err}
}

func (a *Arbiter) guards(r owner.Request) []clientv3.Cmp {
	var cmps []clientv3.Cmp
	if r.RecordMod != free {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(a.record), "=", r.RecordMod))
	}
	if r.ClaimMod != free {
		cmps = append(cmps, clientv3.Compare(clientv3.ModRevision(a.claim), "=", r.ClaimMod))
	}
	return cmps
}

func (a *Arbiter) changes(r owner.Request) ([]clientv3.Op, error) {
	var ops []clientv3.Op
	if r.PutRecord != nil {
		value, err := json.Marshal(r.PutRecord)
		if err != nil {
			return nil, err
		}
		ops = append(ops, clientv3.OpPut(a.record, string(value)))
	}
	switch {
	case r.PutClaim != nil:
		value, err := json.Marshal(r.PutClaim)
		if err != nil {
			return nil, err
		}
		ops = append(ops, clientv3.OpPut(a.claim, string(value)))
	case r.DeleteClaim:
		ops = append(ops, clientv3.OpDelete(a.claim))
	}
	return append(ops, a.gets()...), nil
}

// gets end each transaction, so that every answer has the keys.
func (a *Arbiter) gets() []clientv3.Op {
	return []clientv3.Op{clientv3.OpGet(a.record), clientv3.OpGet(a.claim)}
}

// snapshot takes the keys from the last two answers of a transaction.
func (a *Arbiter) snapshot(resp *clientv3.TxnResponse) owner.Snapshot {
	var s owner.Snapshot
	n := len(resp.Responses)
	for _, kv := range resp.Responses[n-2].GetResponseRange().GetKvs() {
		s.Record = recordOf(kv.Value, kv.ModRevision)
	}
	for _, kv := range resp.Responses[n-1].GetResponseRange().GetKvs() {
		s.Claim = claimOf(kv.Value, kv.ModRevision)
	}
	return s
}
