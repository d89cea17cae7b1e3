package dcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"sync"
	"time"

	"github.com/pgvip/pgvip/route"
)

// PatroniConfig says where Patroni's REST interfaces are. All but Override is
// required.
type PatroniConfig struct {
	Hosts    []string // scheme://host:port of each member
	Scope    string
	Interval time.Duration // between two polls of each
	// Get fetches a URL by ctx's deadline.
	Get func(ctx context.Context, url string) (status int, body []byte, err error)

	// Override is that of EtcdConfig.
	Override map[string]string
}

// Times of the polls.
const (
	// pollTimeout bounds a question: a host that hangs must not make the news old
	// before another one has been asked.
	pollTimeout = 700 * time.Millisecond
	// extrasEvery is the pace of /config and /history, which change with a leader or
	// by an operator's hand.
	extrasEvery = 5 * time.Second
	// wordFor is how long an answer counts; then a host is silent.
	wordFor = route.StaleAfter
)

// Patroni is a Source that polls Patroni's REST interface, as HAProxy's httpchk
// does: for where etcd is out of reach. Use NewPatroni.
//
// GET /cluster is read from etcd by whoever answers it, and GET /primary is each
// node's own word. The leader is whom the younger of both names; while nobody can
// read etcd, the only one that calls itself the primary.
type Patroni struct {
	cfg PatroniConfig // immutable

	// Owned by Run.
	hosts   map[string]word // by URL
	cluster clusterView
	extras  extras
	last    Snapshot

	mu    sync.Mutex
	stats Stats // guarded by mu
}

// word is what a node said of itself.
type word struct {
	at       time.Time // asked
	primary  bool
	name     string
	systemID string
}

// clusterView is what etcd has, by somebody's word.
type clusterView struct {
	at   time.Time // asked; zero before the first
	topo route.Topology
}

// extras are the keys that are read now and then.
type extras struct {
	config  decoder // of /config
	history decoder // of /history
}

// NewPatroni makes a source; nothing is asked before Run.
func NewPatroni(cfg PatroniConfig) (*Patroni, error) {
	switch {
	case len(cfg.Hosts) == 0:
		return nil, errors.New("patroni: no hosts")
	case cfg.Interval <= 0 || cfg.Get == nil:
		return nil, errors.New("patroni: no interval, or nobody to ask")
	}
	return &Patroni{cfg: cfg, hosts: make(map[string]word), extras: noExtras()}, nil
}

func noExtras() extras {
	return extras{history: decoder{topo: route.Topology{Timeline: 1}}}
}

// Stats gives a copy of the counters.
func (p *Patroni) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stats
}

func (p *Patroni) count(f func(*Stats)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.stats)
}

// Run polls until ctx ends.
func (p *Patroni) Run(ctx context.Context, news func(Snapshot)) {
	updates := make(chan func()) // never closed: its senders end with ctx
	send := func(f func()) {
		select {
		case updates <- f:
		case <-ctx.Done():
		}
	}
	var polls sync.WaitGroup
	defer polls.Wait()
	for _, host := range p.cfg.Hosts {
		polls.Go(func() { p.each(ctx, func() { p.pollPrimary(ctx, host, send) }) })
	}
	viewer := &viewer{cfg: &p.cfg}
	polls.Go(func() { p.each(ctx, func() { p.pollCluster(ctx, viewer, send) }) })
	for {
		select {
		case <-ctx.Done():
			return
		case update := <-updates:
			update()
			if s, ok := p.snapshot(time.Now()); ok {
				news(s)
			}
		}
	}
}

// each polls at the configured pace, whatever a poll takes.
func (p *Patroni) each(ctx context.Context, poll func()) {
	tick := time.NewTicker(p.cfg.Interval)
	defer tick.Stop()
	for ctx.Err() == nil {
		poll()
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

func (p *Patroni) pollPrimary(ctx context.Context, host string, send func(func())) {
	w, err := p.askPrimary(ctx, host)
	if err != nil {
		return // silence: what it said last grows old
	}
	send(func() { p.hosts[host] = w })
}

func (p *Patroni) askPrimary(ctx context.Context, host string) (word, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	w := word{at: time.Now()}
	status, body, err := p.cfg.Get(ctx, host+"/primary")
	if err != nil {
		return w, err
	}
	w.primary = status == http.StatusOK
	return w, w.read(body, p.cfg.Scope)
}

func (p *Patroni) pollCluster(ctx context.Context, v *viewer, send func(func())) {
	view, more, err := v.look(ctx)
	if ctx.Err() != nil {
		return
	}
	p.count(func(s *Stats) {
		asked := Following{Endpoint: v.host(), LastRead: s.LastRead}
		if err != nil {
			s.Missed++
			s.LastErr, s.LastErrAt = err.Error(), time.Now()
			asked.Err = s.LastErr
		} else {
			s.Reads++
			s.LastRead, s.LastErr = view.at, ""
			asked.LastRead = view.at
		}
		s.Following = []Following{asked}
	})
	send(func() {
		if err != nil {
			p.last.Err = err
			return
		}
		p.last.Err, p.cluster = nil, view
		if more != nil {
			p.extras = *more
		}
	})
}

// snapshot joins all that was said; ok is false when it says nothing new.
func (p *Patroni) snapshot(now time.Time) (s Snapshot, ok bool) {
	topo, at := p.cluster.topo, p.cluster.at
	if at.IsZero() {
		return Snapshot{Err: p.last.Err}, p.last.Err != nil
	}
	if leader, word := p.leader(now); leader != topo.Leader || word.After(at) && now.Sub(at) > wordFor {
		topo.Leader, at = leader, word
	}
	p.addExtras(&topo)
	topo.SystemID = p.systemID()
	topo.Initialized = topo.SystemID != ""
	before := &p.last.Topology
	topo.Revision, topo.LeaderRevision = before.Revision, before.LeaderRevision
	if topo.Leader != before.Leader {
		topo.LeaderRevision = before.Revision + 1
	}
	changed := !reflect.DeepEqual(topo, *before)
	if changed {
		topo.Revision++
	}
	confirmed := at.After(p.last.At)
	err := p.last.Err
	if !changed && !confirmed {
		// While somebody answers something, it is no news that another one does not.
		return Snapshot{Topology: *before, At: p.last.At, Err: err}, err != nil && now.Sub(p.last.At) > wordFor
	}
	p.last = Snapshot{Topology: topo, At: latest(at, p.last.At), Faults: append(p.extras.config.faults, p.extras.history.faults...)}
	s = p.last
	p.last.Err = err
	p.count(func(s *Stats) {
		s.Revision = topo.Revision
		if changed {
			s.Events++
		}
	})
	return s, true
}

// leader names the leader by the youngest word, and when that was asked for.
func (p *Patroni) leader(now time.Time) (name string, at time.Time) {
	view := &p.cluster
	seen := now.Sub(view.at) <= wordFor
	if seen && view.topo.Leader == "" {
		// Who holds a lock that is not in etcd is in failsafe_mode, which is asked
		// for where it matters, or has not noticed.
		return "", view.at
	}
	var claims []string
	for host, w := range p.hosts {
		if w.primary && now.Sub(w.at) <= wordFor {
			claims = append(claims, p.nameOf(host, w))
			at = latest(at, w.at)
		}
	}
	if len(claims) == 1 && claims[0] != "" && (!seen || at.After(view.at)) {
		return claims[0], at
	}
	return view.topo.Leader, view.at
}

// nameOf gives the member that answers at host: by its own word since Patroni 3.1,
// before by its api_url.
func (p *Patroni) nameOf(host string, w word) string {
	if w.name != "" {
		return w.name
	}
	for i := range p.cluster.topo.Members {
		if m := &p.cluster.topo.Members[i]; m.APIURL == host {
			return m.Name
		}
	}
	return ""
}

// systemID is that of most nodes that have told one.
func (p *Patroni) systemID() string {
	count := map[string]int{}
	best := p.last.Topology.SystemID
	for _, w := range p.hosts {
		if w.systemID != "" {
			count[w.systemID]++
		}
	}
	for id, n := range count {
		if n > count[best] {
			best = id
		}
	}
	return best
}

func (p *Patroni) addExtras(topo *route.Topology) {
	c, h := &p.extras.config.topo, &p.extras.history.topo
	topo.Configured = true
	topo.Paused = topo.Paused || c.Paused
	topo.Failsafe = c.Failsafe
	topo.Standby = topo.Standby || c.Standby
	topo.Timeline = h.Timeline
}

func latest(x, y time.Time) time.Time {
	if x.After(y) {
		return x
	}
	return y
}

// viewer asks for /cluster, one host after the other until one answers, and
// stays with that one.
type viewer struct {
	cfg    *PatroniConfig
	next   int       // index of the host to ask
	leader string    // of the last view
	extras time.Time // when they were read
}

func (v *viewer) host() string { return v.cfg.Hosts[v.next] }

// look gives a view, and the extras when they were due.
func (v *viewer) look(ctx context.Context) (clusterView, *extras, error) {
	var errs []error
	for range v.cfg.Hosts {
		view, err := v.ask(ctx)
		if err == nil {
			return view, v.more(ctx, view), nil
		}
		errs = append(errs, err)
		v.next = (v.next + 1) % len(v.cfg.Hosts)
	}
	return clusterView{}, nil, errors.Join(errs...)
}

func (v *viewer) ask(ctx context.Context) (clusterView, error) {
	view := clusterView{at: time.Now()}
	body, err := v.get(ctx, "/cluster")
	if err != nil {
		return view, err
	}
	view.topo, err = decodeCluster(body, v.cfg.Scope)
	if err != nil {
		return view, fmt.Errorf("%s/cluster: %w", v.host(), err)
	}
	for i := range view.topo.Members {
		override(&view.topo.Members[i], v.cfg.Override)
	}
	return view, nil
}

func (v *viewer) get(ctx context.Context, path string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, pollTimeout)
	defer cancel()
	status, body, err := v.cfg.Get(ctx, v.host()+path)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d", status)
	}
	if err != nil {
		return nil, fmt.Errorf("%s%s: %w", v.host(), path, err)
	}
	return body, nil
}

// more reads /config and /history when they are due; nil when they are not, or
// cannot be read, for what is known then stays.
func (v *viewer) more(ctx context.Context, view clusterView) *extras {
	if view.topo.Leader == v.leader && time.Since(v.extras) < extrasEvery {
		return nil
	}
	config, err1 := v.get(ctx, "/config")
	history, err2 := v.get(ctx, "/history")
	if err1 != nil || err2 != nil {
		return nil
	}
	more := noExtras()
	more.config.note("config", more.config.config(config))
	more.history.note("history", more.history.history(history))
	v.leader, v.extras = view.topo.Leader, time.Now()
	return &more
}

// note keeps a fault of a key.
func (d *decoder) note(key string, err error) {
	if err != nil {
		d.faults = append(d.faults, Fault{Key: key, Err: err})
	}
}
