package proxy

import (
	"maps"
	mrand "math/rand/v2"
	"sync"

	"github.com/pgvip/pgvip/route"
)

// registry finds a session by the number that its BackendKeyData gave it.
type registry struct {
	mu   sync.Mutex
	byID map[uint32]*session // guarded by mu

	// Guarded by mu: how many there are, so that whoever wants to know need not
	// count ten thousand while a loop waits for the lock.
	accounts map[account]int
	roles    [route.Replica + 1]int
}

// account names the clients of one database and user.
type account struct{ database, user string }

func (s *session) account() account { return account{s.who.database, s.who.user} }

// add gives s a number that no other session has.
func (r *registry) add(s *session, peer int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s.id = r.unused(peer)
	r.byID[s.id] = s
	r.accounts[s.account()]++
	r.roles[s.role]++
}

// unused makes a number that no session has.
func (r *registry) unused(peer int) uint32 {
	for {
		id := uint32(peer)<<numberBits | mrand.Uint32N(1<<numberBits)
		if _, taken := r.byID[id]; !taken && id != 0 {
			return id
		}
	}
}

// free makes a number for who is no session.
func (r *registry) free(peer int) uint32 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.unused(peer)
}

func (r *registry) remove(s *session) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.byID[s.id] != s {
		return
	}
	delete(r.byID, s.id)
	r.roles[s.role]--
	if r.accounts[s.account()]--; r.accounts[s.account()] == 0 {
		delete(r.accounts, s.account())
	}
}

// count gives how many sessions there are by account and by role.
func (r *registry) count() (map[account]int, [route.Replica + 1]int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return maps.Clone(r.accounts), r.roles
}

func (r *registry) find(id uint32) *session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.byID[id]
}

func (r *registry) size() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.byID)
}

// all lists the sessions, in no order.
func (r *registry) all() []*session {
	r.mu.Lock()
	defer r.mu.Unlock()
	list := make([]*session, 0, len(r.byID))
	for _, s := range r.byID {
		list = append(list, s)
	}
	return list
}
