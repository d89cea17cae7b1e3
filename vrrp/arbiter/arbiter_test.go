package arbiter

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/vrrp/beat"
	"github.com/pgvip/pgvip/vrrp/owner"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	recordKey = "/pgvip/demo/vip/10.0.0.100"
	claimKey  = "/pgvip/demo/claim/10.0.0.100"
)

// desk is an arbiter that runs until the test ends.
type desk struct {
	t       *testing.T
	arbiter *Arbiter
	events  chan Event
	id      uint64
	waiting []Event // came while another one was waited for
}

func open(t *testing.T, etcd beat.Etcd) *desk {
	t.Helper()
	d := &desk{t: t, events: make(chan Event)}
	start := time.Now()
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	d.arbiter, err = New(Options{Etcd: etcd, Cluster: "demo", Address: netip.MustParseAddr("10.0.0.100"),
		Now: func() time.Duration { return time.Since(start) },
		Deliver: func(e Event) {
			select {
			case d.events <- e:
			case <-ctx.Done():
			}
		}})
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() { d.arbiter.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	return d
}

func openAt(t *testing.T, servers ...*server) *desk {
	t.Helper()
	var at []string
	for _, s := range servers {
		at = append(at, s.client)
	}
	return open(t, beat.Etcd{Endpoints: at})
}

// next waits for the first event that is as asked for.
func (d *desk) next(what string, is func(Event) bool) Event {
	d.t.Helper()
	for i, e := range d.waiting {
		if is(e) {
			d.waiting = append(d.waiting[:i:i], d.waiting[i+1:]...)
			return e
		}
	}
	late := time.After(20 * time.Second)
	for {
		select {
		case e := <-d.events:
			if is(e) {
				return e
			}
			d.waiting = append(d.waiting, e)
		case <-late:
			d.t.Fatalf("%s did not come", what)
		}
	}
}

// send makes a request, as soon as the arbiter takes it.
func (d *desk) send(r owner.Request) uint64 {
	d.t.Helper()
	d.id++
	r.ID = d.id
	for deadline := time.Now().Add(10 * time.Second); ; {
		err := d.arbiter.Do(r)
		if err == nil {
			return r.ID
		}
		if !errors.Is(err, ErrBusy) || time.Now().After(deadline) {
			d.t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
}

func (d *desk) do(r owner.Request) owner.Reply {
	d.t.Helper()
	id := d.send(r)
	return d.next("the answer", func(e Event) bool { return e.Kind == Answered && e.ID == id }).Reply
}

// read asks until etcd answers.
func (d *desk) read() owner.Snapshot {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		reply := d.do(reading)
		if reply.Err == nil {
			return reply.Snapshot
		}
		if time.Now().After(deadline) {
			d.t.Fatal(reply.Err)
		}
	}
}

func TestGuardsDecide(t *testing.T) {
	s := newServer(t)
	s.start()
	d := openAt(t, s)
	if empty := d.read(); empty.Record.Mod != 0 || empty.Claim.Mod != 0 || empty.Revision == 0 {
		t.Fatalf("of an empty store: %+v", empty)
	}
	record := &owner.Record{Owner: "lb1", Boot: "b", Term: 7, Hold: time.Second}
	first := d.do(owner.Request{RecordMod: 0, ClaimMod: free, PutRecord: record})
	if got := first.Snapshot.Record; !first.Committed || got.Owner != "lb1" || got.Term != 7 || got.Hold != time.Second || got.Mod == 0 {
		t.Fatalf("first put: %+v", first)
	}
	mod := first.Snapshot.Record.Mod
	claim := d.do(owner.Request{RecordMod: mod, ClaimMod: 0, PutClaim: &owner.Claim{Node: "lb2", Record: mod}})
	if got := claim.Snapshot; !claim.Committed || got.Claim.Node != "lb2" || got.Record.Mod != mod || got.Revision != got.Claim.Mod {
		t.Fatalf("claim: %+v", claim)
	}
	for name, r := range map[string]owner.Request{
		"record written since": {RecordMod: mod - 1, ClaimMod: free, PutRecord: record},
		"record exists":        {RecordMod: 0, ClaimMod: free, PutRecord: record},
		"claim exists":         {RecordMod: free, ClaimMod: 0, PutClaim: &owner.Claim{Node: "lb3"}},
		"one of two":           {RecordMod: mod, ClaimMod: 1, DeleteClaim: true},
	} {
		got := d.do(r)
		if got.Err != nil || got.Committed || got.Snapshot.Record != claim.Snapshot.Record || got.Snapshot.Claim != claim.Snapshot.Claim {
			t.Errorf("%s: %+v, want the keys as they were", name, got)
		}
	}
	took := d.do(owner.Request{RecordMod: mod, ClaimMod: claim.Snapshot.Claim.Mod, PutRecord: record, DeleteClaim: true})
	if got := took.Snapshot; !took.Committed || got.Claim.Mod != 0 || got.Record.Mod != got.Revision {
		t.Errorf("both written: %+v", took)
	}
}

func TestWatchTells(t *testing.T) {
	s := newServer(t)
	s.start()
	d := openAt(t, s)
	d.read()
	watched := func(f func(owner.Snapshot) bool) func(Event) bool {
		return func(e Event) bool { return e.Kind == Watched && f(e.Snapshot) }
	}
	s.put(recordKey, `{"owner":"lb1","term":3}`)
	d.next("the record", watched(func(s owner.Snapshot) bool { return s.Record.Owner == "lb1" && s.Claim.Mod == 0 }))
	s.put("/pgvip/demo/vip/10.0.0.99", `{"owner":"another address's"}`)
	s.put(claimKey, `{"node":"lb2"}`)
	last := d.next("the claim", watched(func(s owner.Snapshot) bool { return s.Record.Term == 3 && s.Claim.Node == "lb2" }))
	if last.Snapshot.Revision != last.Snapshot.Claim.Mod {
		t.Errorf("revision %d of a snapshot whose last write is %d", last.Snapshot.Revision, last.Snapshot.Claim.Mod)
	}
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		_, err := c.Delete(ctx, "/pgvip/demo/", clientv3.WithPrefix())
		return err
	})
	d.next("the end of both", watched(func(s owner.Snapshot) bool {
		return s.Record.Mod == 0 && s.Claim.Mod == 0 && s.Revision > last.Snapshot.Revision
	}))
}

func TestNoticesReachWhoWatches(t *testing.T) {
	s := newServer(t)
	s.start()
	one, two := openAt(t, s), openAt(t, s)
	one.read()
	two.read()
	one.next("its watch", func(e Event) bool { return e.Kind == Watched })
	two.next("its watch", func(e Event) bool { return e.Kind == Watched })
	told := func(e Event) bool { return e.Kind == Told && string(e.Notice) == "released" }
	// The watch begins after the read that was just told of.
	for deadline := time.Now().Add(20 * time.Second); ; {
		one.arbiter.Tell([]byte("released"))
		select {
		case e := <-two.events:
			if told(e) {
				return
			}
		case e := <-one.events:
			one.waiting = append(one.waiting, e)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			t.Fatal("nobody was told")
		}
	}
}

// TestUnreadableKeysNameNobody: they can be taken over, and not before any
// owner's promise has run out.
func TestUnreadableKeysNameNobody(t *testing.T) {
	s := newServer(t)
	s.start()
	s.put(recordKey, "lb1")
	s.put(claimKey, `{"node": 7}`)
	got := openAt(t, s).read()
	if got.Record.Owner != "" || got.Record.Hold != unreadableHold || got.Record.Mod == 0 {
		t.Errorf("record %+v", got.Record)
	}
	if got.Claim.Node != "" || got.Claim.Mod == 0 {
		t.Errorf("claim %+v", got.Claim)
	}
}

// TestDeadEtcdHoldsNobodyUp: requests end in time and are bounded in number, and
// the first after its return is answered.
func TestDeadEtcdHoldsNobodyUp(t *testing.T) {
	s := newServer(t)
	d := openAt(t, s) // nobody listens
	d.next("trouble", func(e Event) bool { return e.Kind == Trouble && e.Err != nil })
	begun := time.Now()
	var ids []uint64
	for range maxReads {
		ids = append(ids, d.send(reading))
	}
	if err := d.arbiter.Do(reading); !errors.Is(err, ErrBusy) {
		t.Errorf("one more: %v, want busy", err)
	}
	write := d.send(owner.Request{RecordMod: free, ClaimMod: free, DeleteClaim: true})
	if took := time.Since(begun); took > Timeout/2 {
		t.Errorf("asking took %v", took)
	}
	for _, id := range append(ids, write) {
		if e := d.next("an answer", func(e Event) bool { return e.Kind == Answered && e.ID == id }); e.Err == nil {
			t.Errorf("a dead etcd answered: %+v", e)
		}
	}
	s.start()
	d.read()
	s.signal(syscall.SIGSTOP)
	if got := d.do(owner.Request{RecordMod: free, ClaimMod: free, DeleteClaim: true}); got.Err == nil {
		t.Errorf("a frozen etcd answered: %+v", got)
	}
	s.signal(syscall.SIGCONT)
	d.read()
}

// TestAFrozenMemberCostsNothing: whichever it is, every read is
// answered in time, and writes do not go there.
func TestAFrozenMemberCostsNothing(t *testing.T) {
	servers := newServers(t)
	d := openAt(t, servers...)
	d.read()
	for _, s := range servers {
		s.signal(syscall.SIGSTOP)
		d.afterElection()
		for range 20 {
			if reply := d.do(reading); reply.Err != nil {
				t.Errorf("with %s frozen: %v", s.name, reply.Err)
			}
		}
		if reply := d.do(owner.Request{RecordMod: free, ClaimMod: free, DeleteClaim: true}); reply.Err != nil {
			t.Errorf("write with %s frozen: %v", s.name, reply.Err)
		}
		d.leaves(s)
		s.signal(syscall.SIGCONT)
		s.answers()
		d.afterElection()
	}
}

// leaves waits until both links work and neither leads to s.
func (d *desk) leaves(s *server) {
	d.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		links := d.arbiter.Links()
		good := 0
		for endpoint, works := range links {
			if works && endpoint != s.client {
				good++
			}
		}
		if good == maxLinks {
			return
		}
		if time.Now().After(deadline) {
			d.t.Fatalf("with %s frozen the links are %v", s.client, links)
		}
		d.do(reading)
	}
}

// TestAReadGoesToTheOtherMemberToo: not one read is lost to the member that
// answered last and then froze.
func TestAReadGoesToTheOtherMemberToo(t *testing.T) {
	servers := newServers(t)
	d := openAt(t, servers...)
	d.leaves(&server{}) // both links work
	d.read()
	links, _ := d.arbiter.working()
	first := d.arbiter.opt.Etcd.Endpoints[links[0].link.at]
	var freeze *server
	for _, s := range servers {
		if s.client == first {
			freeze = s
		}
	}
	freeze.giveUpLead(servers)
	freeze.signal(syscall.SIGSTOP)
	for range 3 {
		if reply := d.do(reading); reply.Err != nil {
			t.Error(reply.Err)
		}
	}
}

// giveUpLead makes another member the leader if s is.
func (s *server) giveUpLead(all []*server) {
	s.t.Helper()
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		mine, err := c.Status(ctx, s.client)
		if err != nil || mine.Leader != mine.Header.MemberId {
			return err
		}
		for _, o := range all {
			if o != s {
				status, err := c.Status(ctx, o.client)
				if err != nil {
					return err
				}
				_, err = c.MoveLeader(ctx, status.Header.MemberId)
				return err
			}
		}
		return nil
	})
}

// afterElection reads until etcd has a leader and answers three times running.
func (d *desk) afterElection() {
	d.t.Helper()
	good := 0
	for deadline := time.Now().Add(20 * time.Second); good < 3; {
		if reply := d.do(reading); reply.Err == nil {
			good++
		} else {
			good = 0
		}
		if time.Now().After(deadline) {
			d.t.Fatal("etcd has no leader")
		}
	}
}

// TestAnotherStoreIsNewer: after a restore revisions begin anew, and what is
// read then counts as later than all before.
func TestAnotherStoreIsNewer(t *testing.T) {
	s := newServer(t)
	s.start()
	s.put(recordKey, `{"owner":"lb1"}`)
	s.put(recordKey, `{"owner":"lb2"}`)
	d := openAt(t, s)
	before := d.read()
	s.stop()
	s.dir = t.TempDir()
	s.more = []string{"--initial-cluster-token", "restored"} // makes another cluster id
	s.start()
	after := d.read()
	for deadline := time.Now().Add(10 * time.Second); after.Record.Mod != 0 && time.Now().Before(deadline); {
		after = d.read()
	}
	if after.Record.Mod != 0 || after.Revision <= before.Revision {
		t.Errorf("before %+v, after %+v", before, after)
	}
	s.put(recordKey, `{"owner":"lb3"}`)
	d.next("the new record", func(e Event) bool {
		return e.Kind == Watched && e.Snapshot.Record.Owner == "lb3" && e.Snapshot.Revision > after.Revision
	})
}

func TestStoreAdmitsOnlyWhatComesFromIt(t *testing.T) {
	var s store
	steps := []struct {
		what     string
		before   store
		cluster  uint64
		revision int64
		want     bool
		gen      int64
	}{
		{"first", store{}, 1, 10, true, 0},
		{"later", store{0, 1, 10}, 1, 12, true, 0},
		{"older, but sent before", store{0, 1, 10}, 1, 11, true, 0},
		{"set back", store{0, 1, 12}, 1, 5, true, 1},
		{"of the store before", store{0, 1, 12}, 1, 12, false, 1},
		{"another cluster", store{1, 1, 5}, 2, 50, true, 2},
		{"sent before that", store{1, 1, 5}, 1, 6, false, 2},
	}
	for _, step := range steps {
		if got := s.admit(step.before, step.cluster, step.revision); got != step.want || s.generation != step.gen {
			t.Errorf("%s: %t in store %d, want %t in %d", step.what, got, s.generation, step.want, step.gen)
		}
	}
}

func TestTLSAndPassword(t *testing.T) {
	files := certs.Write(t, "root")
	s := newServer(t)
	s.more = []string{"--cert-file", files.Cert, "--key-file", files.Key, "--client-cert-auth", "--trusted-ca-file", files.CA}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(files.CA)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no authority", err)
	}
	pair, err := tls.LoadX509KeyPair(files.ClientCert, files.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	s.tls = &tls.Config{RootCAs: pool, Certificates: []tls.Certificate{pair}}
	s.start()
	s.do(func(ctx context.Context, c *clientv3.Client) error {
		_, err1 := c.RoleAdd(ctx, "root")
		_, err2 := c.UserAdd(ctx, "root", "secret")
		_, err3 := c.UserGrantRole(ctx, "root", "root")
		// The least that a keeper needs.
		_, err4 := c.RoleAdd(ctx, "keeper")
		_, err5 := c.RoleGrantPermission(ctx, "keeper", Prefix("demo"), clientv3.GetPrefixRangeEnd(Prefix("demo")), clientv3.PermissionType(clientv3.PermReadWrite))
		_, err6 := c.UserAdd(ctx, "pgvip", "its own")
		_, err7 := c.UserGrantRole(ctx, "pgvip", "keeper")
		_, err8 := c.AuthEnable(ctx)
		return errors.Join(err1, err2, err3, err4, err5, err6, err7, err8)
	})
	etcd := beat.Etcd{Endpoints: []string{s.client}, TLS: true, CACert: files.CA, Cert: files.ClientCert, Key: files.ClientKey,
		Username: "pgvip", Password: "its own"}
	d := open(t, etcd)
	d.read()
	if got := d.do(owner.Request{RecordMod: 0, ClaimMod: free, PutRecord: &owner.Record{Owner: "lb1"}}); !got.Committed {
		t.Errorf("%+v", got)
	}
	etcd.Password = "wrong password"
	trouble := open(t, etcd).next("trouble", func(e Event) bool { return e.Kind == Trouble })
	if text := trouble.Err.Error(); !strings.Contains(text, "invalid user ID or password") || strings.Contains(text, etcd.Password) {
		t.Errorf("trouble: %v", text)
	}
	etcd.CACert = files.Key
	open(t, etcd).next("trouble", func(e Event) bool { return e.Kind == Trouble })
}
