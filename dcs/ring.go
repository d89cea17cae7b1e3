package dcs

import "sync"

// endpoints deals the members of etcd out to the followers, so that no two are at
// the same one.
type endpoints struct {
	all []string

	mu  sync.Mutex
	use []int // guarded by mu; of each follower, the index in all
}

// begin gives each follower one, from first on.
func (r *endpoints) begin(followers, first int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.use = nil
	for i := range followers {
		r.use = append(r.use, (first+i)%len(r.all))
	}
}

func (r *endpoints) at(place int) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.all[r.use[place]]
}

// next gives a follower another one that is free; it may be the same.
func (r *endpoints) next(place int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	taken := make(map[int]bool, len(r.use))
	for other, i := range r.use {
		taken[i] = other != place
	}
	for i := range r.all {
		if try := (r.use[place] + 1 + i) % len(r.all); !taken[try] {
			r.use[place] = try
			return
		}
	}
}
