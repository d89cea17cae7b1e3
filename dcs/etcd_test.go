package dcs

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/client/v3"

	"github.com/pgvip/pgvip/route"
)

// listener runs an Etcd and keeps what it says.
type listener struct {
	t    *testing.T
	etcd *Etcd
	got  chan Snapshot
}

func follow(t *testing.T, endpoints ...string) *listener {
	t.Helper()
	return runEtcd(t, EtcdConfig{Endpoints: endpoints, Namespace: "service", Scope: "demo"})
}

func runEtcd(t *testing.T, cfg EtcdConfig) *listener {
	t.Helper()
	e, err := NewEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	f := &listener{t: t, etcd: e, got: make(chan Snapshot)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		e.Run(ctx, func(s Snapshot) {
			select {
			case f.got <- s:
			case <-ctx.Done():
			}
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// wait gives the first snapshot from now on that ok accepts.
func (f *listener) wait(what string, limit time.Duration, ok func(Snapshot) bool) Snapshot {
	f.t.Helper()
	deadline := time.After(limit)
	var last Snapshot
	for {
		select {
		case last = <-f.got:
			if ok(last) {
				return last
			}
		case <-deadline:
			f.t.Fatalf("%s: not within %v; last %+v, stats %+v", what, limit, last, f.etcd.Stats())
		}
	}
}

func good(leader string) func(Snapshot) bool {
	return func(s Snapshot) bool { return s.Err == nil && s.Topology.Leader == leader }
}

func failed(s Snapshot) bool { return s.Err != nil }

func TestNewEtcdAsksForWhatItNeeds(t *testing.T) {
	for _, cfg := range []EtcdConfig{{Scope: "demo"}, {Endpoints: []string{"x:1"}}} {
		if _, err := NewEtcd(cfg); err == nil {
			t.Errorf("NewEtcd(%+v) gave no error", cfg)
		}
	}
}

// TestEtcdFollowsEvents: one snapshot per revision, in order, none left out.
func TestEtcdFollowsEvents(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1", "initialize", "7301", "members/pg1", patroni3)
	f := follow(t, s.client)
	first := f.wait("first", 5*time.Second, good("pg1"))
	if !first.Topology.Initialized || len(first.Topology.Members) != 1 || first.At.IsZero() {
		t.Errorf("first snapshot %+v", first)
	}

	// The signature of a crash: both keys in one revision.
	s.background(func() {
		s.txn(clientv3.OpDelete("/service/demo/leader"), clientv3.OpDelete("/service/demo/members/pg1"))
	})
	gone := f.wait("crash", 5*time.Second, good(""))
	if len(gone.Topology.Members) != 0 {
		t.Errorf("leader gone, members %+v, want both gone at once", gone.Topology.Members)
	}

	// Deleted and written again in two revisions: both are seen.
	s.background(func() { s.put("leader", "pg2") })
	f.wait("pg2", 5*time.Second, good("pg2"))
	s.background(func() {
		s.do(func(ctx context.Context, c *clientv3.Client) error {
			_, err := c.Delete(ctx, "/service/demo/leader")
			_, err2 := c.Put(ctx, "/service/demo/leader", "pg2")
			return errors.Join(err, err2)
		})
	})
	f.wait("deleted", 5*time.Second, good(""))
	f.wait("put again", 5*time.Second, good("pg2"))
	if stats := f.etcd.Stats(); stats.Unwatched != 0 || stats.Resyncs != 0 {
		t.Errorf("a plain run needed more than its watch: %+v", stats)
	}
}

// TestEtcdFreshness: At moves with every read, not with events.
func TestEtcdFreshness(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1")
	f := follow(t, s.client)
	first := f.wait("first", 5*time.Second, good("pg1"))
	f.wait("confirmed", 3*time.Second, func(s Snapshot) bool { return s.At.After(first.At) })
}

// TestEtcdDownAtStart: it keeps trying, and says why there is no news.
func TestEtcdDownAtStart(t *testing.T) {
	s := newEtcdServer(t)
	f := follow(t, s.client)
	down := f.wait("trouble", 5*time.Second, failed)
	if !down.At.IsZero() || f.etcd.Stats().LastErr == "" {
		t.Errorf("no news yet, but At %v, stats %+v", down.At, f.etcd.Stats())
	}
	if !strings.Contains(down.Err.Error(), "no connection within 1s") {
		t.Errorf("error %q, want it to say that there is no connection", down.Err)
	}
	s.background(func() {
		s.start()
		s.put("leader", "pg1")
	})
	f.wait("news", 15*time.Second, good("pg1"))
}

// TestEtcdRotates: an endpoint that accepts and says nothing, as a frozen member
// does, is given up after two reads, for one that nobody follows yet.
func TestEtcdRotates(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1")
	relays := map[string]*relay{}
	var addrs []string
	for range 3 {
		r := newRelay(t, s.client)
		relays[r.addr()] = r
		addrs = append(addrs, r.addr())
	}
	f := follow(t, addrs...)
	f.wait("first", 5*time.Second, good("pg1"))
	f.wait("both are followed", 5*time.Second, func(Snapshot) bool { return f.reads(2) })
	used := f.etcd.Stats().Following
	relays[used[0].Endpoint].freeze()
	f.wait("another one", 10*time.Second, func(s Snapshot) bool {
		if age := time.Since(s.At); s.Err != nil || age > route.StaleAfter {
			t.Errorf("meanwhile: %v old, %v", age, s.Err)
		}
		now := f.etcd.Stats().Following
		return now[0].Endpoint != used[0].Endpoint && now[0].Endpoint != now[1].Endpoint && !now[0].LastRead.IsZero()
	})
}

// reads reports that n members have answered and are well.
func (f *listener) reads(n int) bool {
	for _, m := range f.etcd.Stats().Following {
		if !m.LastRead.IsZero() && m.Err == "" {
			n--
		}
	}
	return n <= 0
}

// TestEtcdSilence: with nobody left to ask, the error says so.
func TestEtcdSilence(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1")
	a, b := newRelay(t, s.client), newRelay(t, s.client)
	f := follow(t, a.addr(), b.addr())
	f.wait("first", 5*time.Second, good("pg1"))
	f.wait("both are followed", 5*time.Second, func(Snapshot) bool { return f.reads(2) })
	a.freeze()
	b.freeze()
	silent := f.wait("trouble", 10*time.Second, failed)
	if !strings.Contains(silent.Err.Error(), "within 1s") || silent.Topology.Leader != "pg1" {
		t.Errorf("error %q, leader %q; want no answer, and the last leader", silent.Err, silent.Topology.Leader)
	}
}

// TestEtcdCompacted: ha.md 2.1 rule 3; changes and a compaction while the
// connection was cut lead to a full read.
func TestEtcdCompacted(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1")
	r := newRelay(t, s.client)
	f := follow(t, r.addr())
	f.wait("first", 5*time.Second, good("pg1"))
	r.setCut(true)
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		var last int64
		for _, name := range []string{"pg2", "pg3", "pg2", "pg3"} {
			resp, err := c.Put(ctx, "/service/demo/leader", name)
			if err != nil {
				return err
			}
			last = resp.Header.Revision
		}
		_, err := c.Compact(ctx, last)
		return err
	})
	r.setCut(false)
	f.wait("resync", 5*time.Second, good("pg3"))
	s.background(func() { s.put("leader", "pg1") })
	f.wait("events again", 5*time.Second, good("pg1"))
}

// TestEtcdAuthentication: a wrong password is trouble that says so, and the
// right one is asked for anew with every client.
func TestEtcdAuthentication(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1")
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		_, err1 := c.RoleAdd(ctx, "root")
		_, err2 := c.UserAdd(ctx, "root", "right")
		_, err3 := c.UserGrantRole(ctx, "root", "root")
		_, err4 := c.AuthEnable(ctx)
		return errors.Join(err1, err2, err3, err4)
	})
	for _, row := range []struct {
		password string
		want     func(Snapshot) bool
	}{
		{"right", good("pg1")},
		{"wrong", func(s Snapshot) bool {
			return failed(s) && strings.Contains(s.Err.Error(), "invalid user ID or password")
		}},
	} {
		cfg := EtcdConfig{Endpoints: []string{s.client}, Namespace: "service", Scope: "demo", Username: "root", Password: row.password}
		runEtcd(t, cfg).wait(row.password, 5*time.Second, row.want)
	}
}

// TestEtcdRestored: ha.md 2.1 rule 12, another store under the same address.
func TestEtcdRestored(t *testing.T) {
	s := newEtcdServer(t)
	s.start()
	s.put("leader", "pg1", "leader", "pg1", "leader", "pg1")
	f := follow(t, s.client)
	f.wait("first", 5*time.Second, good("pg1"))
	s.background(func() {
		s.stop()
		os.RemoveAll(s.dir)
		s.start()
		s.put("leader", "pg2")
	})
	f.wait("the new store", 15*time.Second, good("pg2"))
	if got := f.etcd.Stats().Restores; got != 1 {
		t.Errorf("Restores %d, want 1", got)
	}
}

// TestSilentWatchIsReplaced: ha.md 2.1 rule 5, an event was lost. The read that
// sees the change tells it; a watch that is still silent a read later goes.
func TestSilentWatchIsReplaced(t *testing.T) {
	e, err := NewEtcd(EtcdConfig{Endpoints: []string{"x:1"}, Namespace: "service", Scope: "demo"})
	if err != nil {
		t.Fatal(err)
	}
	var leaders []string
	e.news = func(s Snapshot) { leaders = append(leaders, s.Topology.Leader) }
	e.store.followers = make([]standing, 1)
	e.stats.Following = make([]Following, 1)
	e.ring.begin(1, 0)
	f := &follower{etcd: e, tell: e.merge}
	key := func(name string, revision int64) []KV {
		return []KV{{Key: "/service/demo/leader", Value: []byte(name), ModRevision: revision}}
	}
	f.resync(read{cluster: 1, revision: 5, kvs: key("pg1", 5)})

	// A read may be ahead of the watch for a moment, which is no fault.
	watch, reads := make(chan clientv3.WatchResponse), make(chan read)
	done := make(chan error)
	go func() { done <- f.apply(t.Context(), watch, reads) }()
	reads <- read{cluster: 1, revision: 6, kvs: key("pg2", 6)}
	watch <- clientv3.WatchResponse{Events: []*clientv3.Event{{
		Type: clientv3.EventTypePut,
		Kv:   &mvccpb.KeyValue{Key: []byte("/service/demo/leader"), Value: []byte("pg2"), ModRevision: 6},
	}}}
	reads <- read{cluster: 1, revision: 6, kvs: key("pg2", 6)}

	reads <- read{cluster: 1, revision: 7, kvs: key("pg3", 7)}
	reads <- read{cluster: 1, revision: 7, kvs: key("pg3", 7)}
	if err := <-done; !errors.Is(err, errWatch) {
		t.Errorf("apply ended with %v, want the watch given up", err)
	}
	if want := []string{"pg1", "pg2", "pg2", "pg3"}; !slices.Equal(leaders, want) {
		t.Errorf("leaders %v, want %v", leaders, want)
	}
}
