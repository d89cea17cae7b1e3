package pool

import "time"

// disuseLimit is how long a pool is kept that has neither servers nor clients:
// users come and go, and their pools must not pile up.
const disuseLimit = 10 * time.Minute

// size is how many servers the pool may have now, 0 without a limit: some more
// once the oldest waiter has waited for reserve_pool_timeout.
func (p *Pool) size() int {
	r := &p.rules
	if r.PoolSize > 0 && p.mayReserve() && p.queue.first != nil && p.loop.Now().Sub(p.queue.first.since) >= r.ReservePoolTimeout {
		return r.PoolSize + r.ReservePoolSize
	}
	return r.PoolSize
}

func (p *Pool) mayReserve() bool {
	return p.rules.ReservePoolSize > 0 && p.rules.ReservePoolTimeout > 0
}

// open is how many servers there are or will be.
func (p *Pool) open() int { return len(p.servers) + p.dialing + p.leaving }

// room reports that the pool's own size allows for one more server.
func (p *Pool) room() bool {
	size := p.size()
	return size <= 0 || p.open() < size
}

// over reports that the pool has more servers than it could ever have come to.
func (p *Pool) over() bool {
	r := &p.rules
	return r.PoolSize > 0 && len(p.servers) > r.PoolSize+r.ReservePoolSize
}

// warm reports that min_pool_size needs the servers that there are.
func (p *Pool) warm() bool {
	return p.pending || p.clients.Load() > 0 && len(p.servers) <= p.rules.MinPoolSize
}

// armReserve comes back when the oldest waiter may use the reserve.
func (p *Pool) armReserve() {
	if p.retired || !p.mayReserve() || p.queue.size <= p.dialing || p.room() || p.reserve.Pending() {
		return
	}
	if left := p.rules.ReservePoolTimeout - p.loop.Now().Sub(p.queue.first.since); left > 0 {
		p.reserve = p.loop.After(left, p.fill)
	}
}

// Join counts a client that will come here for its servers, until Part. Any
// goroutine may call them.
func (p *Pool) Join() {
	if p.clients.Add(1) == 1 {
		p.loop.Post(p.fill)
	}
}

// Part ends Join.
func (p *Pool) Part() {
	if p.clients.Add(-1) == 0 {
		p.loop.Post(func() {
			p.followClaims()
			p.armSweeper()
			p.armDisuse()
		})
	}
}

// Gone reports that the pool has ended, and another is to be asked for. Any
// goroutine may ask.
func (p *Pool) Gone() bool { return p.gone.Load() }

// unused reports that nobody has or waits for anything of the pool.
func (p *Pool) unused() bool {
	return p.open() == 0 && p.queue.size == 0 && p.clients.Load() == 0
}

// armDisuse ends the pool once it has been unused for long enough.
func (p *Pool) armDisuse() {
	if p.retired || p.pending || p.params != nil || p.disuse.Pending() || !p.unused() {
		return
	}
	p.disuse = p.loop.After(disuseLimit, p.endDisused)
}

func (p *Pool) endDisused() {
	if p.unused() {
		p.set.forget(p)
		p.Retire(false)
	}
}
