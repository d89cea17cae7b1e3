package dcs

import (
	"time"

	"github.com/pgvip/pgvip/route"
)

// store is what the followers together know of etcd.
type store struct {
	followers []standing
	cluster   uint64
	revision  int64
	since     time.Time // when revision was heard of
	taken     time.Time // when this store was taken for the one that counts
	last      Snapshot  // zero before the first
}

// standing is how one follower stands.
type standing struct {
	confirmed time.Time // when its last read of the store that counts was sent
	err       error     // why there is nothing from it; nil while there is
}

// merge takes what a follower has found. The first to tell of a revision is
// believed; what is older than what we have is no news, unless it proves that
// the store has changed under us.
func (e *Etcd) merge(u finding) {
	s := &e.store
	from := &s.followers[u.place]
	from.err = u.err
	switch {
	case u.err != nil:
		e.trouble(u.err)
	case u.heard.Before(s.taken):
		// On its way since before the store was replaced.
	case s.last.At.IsZero():
		e.take(u)
	case u.cluster != s.cluster:
		if u.at.IsZero() {
			return // a read will tell
		}
		from.confirmed = time.Time{}
		if !s.confirmedSince(u.at.Add(-route.StaleAfter)) {
			e.replaced(u)
		}
	case !u.at.IsZero() && u.at.After(s.since) && u.revision < s.revision:
		// A linearizable read gives no less than what was known when it was sent.
		e.replaced(u)
	case u.revision > s.revision:
		from.confirm(u)
		e.take(u)
	default:
		from.confirm(u)
		e.confirm(u.at)
	}
}

func (f *standing) confirm(u finding) {
	if u.at.After(f.confirmed) {
		f.confirmed = u.at
	}
}

// confirmedSince reports that a follower still reads the store that counts. As
// long as one does, another store is somebody's mistake and not a replacement.
func (s *store) confirmedSince(t time.Time) bool {
	for i := range s.followers {
		if s.followers[i].confirmed.After(t) {
			return true
		}
	}
	return false
}

// replaced takes another store, or the same set back, for the one that counts.
func (e *Etcd) replaced(u finding) {
	s := &e.store
	s.taken = time.Now()
	for i := range s.followers {
		s.followers[i].confirmed = time.Time{}
	}
	e.count(func(s *Stats) { s.Restores++ })
	s.followers[u.place].confirm(u)
	e.take(u)
}

// take makes the keys of u what is known, and hands them over.
func (e *Etcd) take(u finding) {
	s := &e.store
	s.cluster, s.revision, s.since = u.cluster, u.revision, u.heard
	s.followers[u.place].confirm(u)
	topo, faults := Decode(e.prefix, u.keys)
	topo.Revision, topo.ClusterID = u.revision, u.cluster
	for i := range topo.Members {
		override(&topo.Members[i], e.cfg.Override)
	}
	s.last = Snapshot{Topology: topo, Faults: faults, At: latest(s.last.At, u.at)}
	e.count(func(c *Stats) {
		c.Revision, c.FaultyKeys = topo.Revision, len(faults)
		c.Events += uint64(u.events)
	})
	e.news(s.last)
}

// confirm hands over what is known, as of a later read.
func (e *Etcd) confirm(at time.Time) {
	if s := &e.store; at.After(s.last.At) {
		s.last.At = at
		e.news(s.last)
	}
}

// trouble says why there is no news, once no follower has any; the last good
// state stays.
func (e *Etcd) trouble(err error) {
	for i := range e.store.followers {
		if e.store.followers[i].err == nil && !e.store.last.At.IsZero() {
			return
		}
	}
	s := e.store.last
	s.Err = err
	e.news(s)
}
