package dcs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"

	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/route"
)

// TestFrozenMemberCostsNothing: two of three members are followed, and one of them
// stops without a word (ha.md 2.1 rule 8). News stays fresh, and an event comes as
// fast as ever.
func TestFrozenMemberCostsNothing(t *testing.T) {
	members := newEtcdCluster(t)
	byAddr := map[string]*etcdServer{}
	var addrs []string
	for _, m := range members {
		byAddr[m.client] = m
		addrs = append(addrs, m.client)
	}
	members[0].put("leader", "pg1")
	f := follow(t, addrs...)
	f.wait("first", 5*time.Second, good("pg1"))
	f.wait("both are followed", 5*time.Second, func(Snapshot) bool { return f.reads(2) })

	frozen := byAddr[f.etcd.Stats().Following[0].Endpoint]
	writer := byAddr[f.etcd.Stats().Following[1].Endpoint]
	leader := currentLeader(members)
	frozen.signal(syscall.SIGSTOP)
	t.Cleanup(func() { frozen.signal(syscall.SIGCONT) })
	t.Logf("frozen %s, leader of etcd %s", frozen.name, leader)
	if frozen.name == leader {
		// The others have to elect first: what that takes is etcd's, and not asked
		// for here.
		writer.answers()
	}
	var put atomic.Int64
	writer.background(func() {
		writer.put("leader", "pg2")
		put.Store(time.Now().UnixNano())
	})
	fresh := func(s Snapshot) {
		if age := time.Since(s.At); frozen.name != leader && (s.Err != nil || route.FreshnessOf(age) != route.Fresh) {
			t.Errorf("news is %v old, error %v", age, s.Err)
		}
	}
	s := f.wait("the event", 5*time.Second, good("pg2"))
	fresh(s)
	// The put has returned about when its event was sent; it may not have yet.
	if at := put.Load(); at != 0 {
		took := time.Since(time.Unix(0, at))
		t.Logf("event_after_put_ms=%.1f", took.Seconds()*1000)
		if took > 300*time.Millisecond {
			t.Errorf("event %v after its write, want under 300 ms", took)
		}
	}
	// All through the time in which the frozen one is found out and replaced.
	until := time.Now().Add(4 * time.Second)
	f.wait("fresh for four seconds", 10*time.Second, func(s Snapshot) bool { fresh(s); return time.Now().After(until) })
	if got := f.etcd.Stats().Following; got[0].Endpoint == frozen.client {
		t.Errorf("still at the frozen one: %+v", got)
	}
}

// currentLeader gives the name of etcd's own leader.
func currentLeader(members []*etcdServer) (name string) {
	for _, m := range members {
		m.do(func(ctx context.Context, c *clientv3.Client) error {
			s, err := c.Status(ctx, m.client)
			if err == nil && s.Leader == s.Header.MemberId {
				name = m.name
			}
			return err
		})
	}
	return name
}

// TestEtcdTLS: https with an authority of its own, and a certificate of ours that
// may be replaced while it runs.
func TestEtcdTLS(t *testing.T) {
	files := certs.Write(t, "pgvip")
	s := newEtcdServer(t)
	s.more = []string{"--cert-file", files.Cert, "--key-file", files.Key, "--trusted-ca-file", files.CA, "--client-cert-auth"}
	pem, err := os.ReadFile(files.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(files.ClientCert, files.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	s.tls = &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}}
	s.start()
	s.put("leader", "pg1")

	// Without a certificate of ours at first: etcd does not let it in.
	var now atomic.Pointer[tls.Config]
	now.Store(&tls.Config{RootCAs: roots})
	f := runEtcd(t, EtcdConfig{Endpoints: []string{s.client}, Namespace: "service", Scope: "demo", TLS: now.Load})
	f.wait("refusal", 5*time.Second, failed)
	now.Store(s.tls)
	f.wait("with the certificate", 5*time.Second, good("pg1"))

	// An authority that did not sign etcd's.
	strange := runEtcd(t, EtcdConfig{Endpoints: []string{s.client}, Namespace: "service", Scope: "demo",
		TLS: func() *tls.Config { return &tls.Config{RootCAs: x509.NewCertPool(), Certificates: s.tls.Certificates} }})
	strange.wait("distrust", 5*time.Second, failed)
}

// TestEtcdTokenExpires: ha.md 2.1 rule 10. A simple token that has expired, and a
// member that has forgotten all tokens, lead to a new login and to no gap.
func TestEtcdTokenExpires(t *testing.T) {
	s := newEtcdServer(t)
	s.more = []string{"--auth-token", "simple", "--auth-token-ttl", "2"}
	s.start()
	s.put("leader", "pg1")
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		_, err1 := c.RoleAdd(ctx, "root")
		_, err2 := c.UserAdd(ctx, "root", "secret")
		_, err3 := c.UserGrantRole(ctx, "root", "root")
		// The least that pgvip needs: to read the cluster's keys.
		_, err4 := c.RoleAdd(ctx, "reader")
		_, err5 := c.RoleGrantPermission(ctx, "reader", "/service/demo/", clientv3.GetPrefixRangeEnd("/service/demo/"), clientv3.PermissionType(clientv3.PermRead))
		_, err6 := c.UserAdd(ctx, "pgvip", "its own")
		_, err7 := c.UserGrantRole(ctx, "pgvip", "reader")
		_, err8 := c.AuthEnable(ctx)
		return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
	})
	s.user = "root:secret"
	f := runEtcd(t, EtcdConfig{Endpoints: []string{s.client}, Namespace: "service", Scope: "demo", Username: "pgvip", Password: "its own"})
	f.wait("first", 5*time.Second, good("pg1"))
	until := time.Now().Add(5 * time.Second) // more than twice the life of a token
	f.wait("five seconds", 15*time.Second, func(n Snapshot) bool {
		if age := time.Since(n.At); n.Err != nil || route.FreshnessOf(age) != route.Fresh {
			t.Errorf("news is %v old, error %v", age, n.Err)
		}
		return time.Now().After(until)
	})
	written := make(chan struct{})
	s.background(func() {
		defer close(written)
		s.put("leader", "pg2")
	})
	f.wait("an event after that", 2*time.Second, good("pg2"))
	<-written

	s.background(func() {
		s.stop()
		s.start()
		s.put("leader", "pg3")
	})
	f.wait("after a restart, which forgets tokens", 15*time.Second, good("pg3"))
}

// TestMerge: what two followers find, in any order.
func TestMerge(t *testing.T) {
	start := time.Now()
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	keys := func(leader string) []KV { return []KV{{Key: "/service/demo/leader", Value: []byte(leader)}} }
	event := func(place int, cluster uint64, revision int64, leader string, ms int) finding {
		return finding{place: place, cluster: cluster, revision: revision, keys: keys(leader), heard: at(ms), events: 1}
	}
	reading := func(place int, cluster uint64, revision int64, leader string, ms int) finding {
		return finding{place: place, cluster: cluster, revision: revision, keys: keys(leader), heard: at(ms), at: at(ms - 1)}
	}
	fault := func(place, ms int) finding { return finding{place: place, heard: at(ms), err: errors.New("x")} }
	for _, row := range []struct {
		name     string
		found    []finding
		want     string // leaders handed over, "!" for trouble
		restores uint64
	}{
		{"each revision once", []finding{
			reading(0, 1, 5, "a", 10), event(0, 1, 6, "b", 20), event(1, 1, 6, "b", 21), event(1, 1, 7, "c", 30), event(0, 1, 7, "c", 31)},
			"a b c", 0},
		{"a late one is not news", []finding{
			reading(0, 1, 5, "a", 10), event(0, 1, 6, "b", 20), event(0, 1, 7, "c", 30), event(1, 1, 6, "b", 31)}, "a b c", 0},
		{"an older read that was sent before", []finding{
			reading(0, 1, 5, "a", 10), event(0, 1, 6, "b", 20), reading(1, 1, 5, "a", 20)}, "a b b", 0},
		{"a read of an older state, sent after", []finding{
			reading(0, 1, 5, "a", 10), event(0, 1, 6, "b", 20), reading(1, 1, 4, "z", 40)}, "a b z", 1},
		{"another store, while the first one answers", []finding{
			reading(0, 1, 5, "a", 10), reading(1, 2, 9, "z", 20), event(1, 2, 10, "y", 21), reading(0, 1, 5, "a", 1000)}, "a a", 0},
		{"another store, seen by both", []finding{
			reading(0, 1, 5, "a", 10), reading(1, 1, 5, "a", 11), reading(1, 2, 3, "z", 20), reading(0, 2, 3, "z", 30), event(1, 2, 4, "y", 1<<30)}, "a a z y", 1},
		{"another store, and the first one has fallen silent", []finding{
			reading(0, 1, 5, "a", 10), reading(1, 2, 3, "z", 3000)}, "a z", 1},
		{"an event of another store alone", []finding{reading(0, 1, 5, "a", 10), event(1, 2, 9, "z", 5000)}, "a", 0},
		{"one in trouble", []finding{reading(0, 1, 5, "a", 10), fault(1, 20), event(0, 1, 6, "b", 30)}, "a b", 0},
		{"both in trouble", []finding{reading(0, 1, 5, "a", 10), fault(1, 20), fault(0, 30)}, "a !a", 0},
		{"trouble before any news", []finding{fault(1, 20)}, "!", 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			e, err := NewEtcd(EtcdConfig{Endpoints: []string{"x:1", "y:1"}, Namespace: "service", Scope: "demo"})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			var last time.Time
			e.store.followers = make([]standing, 2)
			e.news = func(s Snapshot) {
				mark := ""
				if s.Err != nil {
					mark = "!"
				}
				got = append(got, mark+s.Topology.Leader)
				if s.At.Before(last) {
					t.Errorf("At went back by %v", last.Sub(s.At))
				}
				last = s.At
			}
			for _, u := range row.found {
				e.merge(u)
			}
			if text := strings.Join(got, " "); text != row.want || e.Stats().Restores != row.restores {
				t.Errorf("handed over %q, %d restores; want %q, %d", text, e.Stats().Restores, row.want, row.restores)
			}
		})
	}
}

// TestRing: no two followers are at one member, if there are enough.
func TestRing(t *testing.T) {
	r := endpoints{all: []string{"a", "b", "c"}}
	r.begin(2, 2)
	if r.at(0) != "c" || r.at(1) != "a" {
		t.Errorf("at %s and %s, want c and a", r.at(0), r.at(1))
	}
	for range 10 {
		r.next(0)
		if r.at(0) == r.at(1) {
			t.Errorf("both at %s", r.at(0))
		}
		r.next(1)
	}
	r = endpoints{all: []string{"a", "b"}}
	r.begin(2, 0)
	r.next(0)
	if r.at(0) != "a" {
		t.Errorf("at %s, want a: b is taken", r.at(0))
	}
}
