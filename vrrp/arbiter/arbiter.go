// Package arbiter is the keeper's client of etcd, in which two keys of each
// virtual IP decide who owns it (rule 36):
//
//	/pgvip/<cluster>/vip/<address>      who owns it
//	/pgvip/<cluster>/claim/<address>    who wants to
//
// A third one decides nothing: it is one more path for what nodes tell each other,
// for a node whose link to the others is down.
//
//	/pgvip/<cluster>/notice/<address>   the last thing that somebody had to tell
//
// It carries out the requests of the owner machine (vrrp/owner), each a transaction
// that reads both keys, and watches them.
//
//	loop --- Do ---> goroutine, at most maxReads and maxWrites ---.
//	  ^                                                           v
//	  '--- Deliver: Answered --------- link 0   link 1 -------- etcd
//	  '--- Deliver: Watched --------------'--------'
//
// Nothing here makes its caller wait. There are two links, each a client of its
// own at another member of etcd where there are several, so that a member that
// hangs costs nothing: reads go to the other one too when the first takes long,
// and writes, which may not go twice, to the one that answered last.
package arbiter

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
	"github.com/pgvip/pgvip/vrrp/owner"
)

// Timeout is how long a request may take. Then its outcome is unknown.
const Timeout = 500 * time.Millisecond

// maxLinks is how many members of etcd are used: one to hang, one to go on.
const maxLinks = 2

// Prefix is below which a cluster's keys are.
func Prefix(cluster string) string { return "/pgvip/" + cluster + "/" }

// Kind says what an Event tells.
type Kind int

// Kinds of events.
const (
	// Answered: the request of that ID has come to an end; Err says that its outcome
	// is unknown.
	Answered Kind = iota + 1
	// Watched: the keys as a watch tells, or a read that nobody asked for.
	Watched
	// Told: somebody has told something, Notice is what.
	Told
	// Trouble: a link does not work, Err says why. It is told once until it has worked again.
	Trouble
)

// Event is what the arbiter tells its keeper.
type Event struct {
	Kind Kind
	ID   uint64 // of the request that is Answered
	// Notice is what is Told, as it was handed to Tell.
	Notice []byte
	// Reply is the answer; of Watched it has the Snapshot alone, of Trouble Err.
	owner.Reply
}

// Options are what an Arbiter works by.
type Options struct {
	Etcd    beat.Etcd
	Cluster string
	Address netip.Addr // the virtual IP's first one
	Now     func() time.Duration
	Deliver func(Event) // by several goroutines
}

// Arbiter is the client. Use New; Run lets it work.
type Arbiter struct {
	// Immutable.
	opt                   Options
	record, claim, notice string // the keys
	links                 []*link

	running sync.WaitGroup // the requests

	stop func() // ends ctx

	mu      sync.Mutex
	ctx     context.Context // guarded by mu; of all requests, nil when Run has ended
	store   store           // guarded by mu
	changed chan struct{}   // guarded by mu; closed and replaced when a link begins to work
	reads   int             // guarded by mu; under way
	writes  int             // guarded by mu; under way
	tells   int             // guarded by mu; under way
}

// New makes an arbiter; nothing is dialed before Run. Certificates are read now, and
// when they cannot be, again before each connection.
func New(opt Options) (*Arbiter, error) {
	switch {
	case len(opt.Etcd.Endpoints) == 0:
		return nil, errors.New("arbiter: no endpoints of etcd")
	case opt.Cluster == "":
		return nil, errors.New("arbiter: no cluster")
	}
	a := &Arbiter{opt: opt, record: Prefix(opt.Cluster) + "vip/" + opt.Address.String(),
		claim: Prefix(opt.Cluster) + "claim/" + opt.Address.String(), notice: Prefix(opt.Cluster) + "notice/" + opt.Address.String(), changed: make(chan struct{})}
	// Requests may come before Run: they wait for a link.
	a.ctx, a.stop = context.WithCancel(context.Background())
	// Nodes of one site must not all begin with the same member.
	first := rand.IntN(len(opt.Etcd.Endpoints))
	for i := range min(maxLinks, len(opt.Etcd.Endpoints)) {
		l := &link{arbiter: a, at: (first + i) % len(opt.Etcd.Endpoints)}
		_ = l.readTLS() // Trouble tells it
		a.links = append(a.links, l)
	}
	return a, nil
}

// Run keeps the links until ctx ends, and returns when every request has ended.
func (a *Arbiter) Run(ctx context.Context) {
	var links sync.WaitGroup
	for _, l := range a.links {
		links.Go(func() { l.run(ctx) })
	}
	links.Wait()
	a.mu.Lock()
	a.ctx = nil // no request begins from here on
	a.mu.Unlock()
	a.stop()
	a.running.Wait()
}

// Links tells of each link whether it works now and where it leads.
func (a *Arbiter) Links() map[string]bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	works := map[string]bool{}
	for _, l := range a.links {
		works[a.opt.Etcd.Endpoints[l.at]] = l.client != nil && l.missed == 0
	}
	return works
}

// nextLocked gives a link an endpoint that no other uses; it may be the same.
func (a *Arbiter) nextLocked(l *link) {
	n := len(a.opt.Etcd.Endpoints)
	for i := 1; i <= n; i++ {
		try := (l.at + i) % n
		if !slices.ContainsFunc(a.links, func(o *link) bool { return o != l && o.at == try }) {
			l.at = try
			return
		}
	}
}

// store follows which store etcd is serving, by what linearizable reads say.
type store struct {
	generation int64
	cluster    uint64
	revision   int64 // the highest seen of this generation
}

// admit takes an answer to a request that was sent when the store was as before.
// It reports whether the answer may be believed.
func (s *store) admit(before store, cluster uint64, revision int64) bool {
	switch {
	case s.cluster == 0:
		s.cluster = cluster
	case s.generation != before.generation:
		return false // it may come from the store that there was
	case cluster != s.cluster || revision < before.revision:
		*s = store{generation: s.generation + 1, cluster: cluster}
	}
	s.revision = max(s.revision, revision)
	return true
}

func (a *Arbiter) storeNow() store {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store
}

// storeBits is where a Snapshot's revision has the number of the store.
const storeBits = 48

// admit takes an answer's revision and gives the one by which snapshots compare:
// that of a store that came later is higher, though its own revisions begin anew.
func (a *Arbiter) admit(before store, cluster uint64, revision int64) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.store.admit(before, cluster, revision) {
		return 0, errReplaced
	}
	return a.store.generation<<storeBits + revision, nil
}

var errReplaced = errors.New("the store of etcd was replaced meanwhile")
