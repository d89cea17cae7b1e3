package address

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// Segments go out in bursts, 20,000 a second: a node's clients are done within the
// half second that they may have to wait, and no queue on the way overflows.
const (
	tickleBurst = 40
	ticklePause = 2 * time.Millisecond
)

// tickleAgain is when a client is sent another segment after the first, which may be
// lost or come before its neighbour cache follows the announcement. A client limits
// its answers to one in 500 ms (tcp_invalid_ratelimit). One that was reset already
// takes no notice.
var tickleAgain = [...]time.Duration{600 * time.Millisecond, 1500 * time.Millisecond}

// tickleHeld is how often it looks whether Allow lets it go on.
const tickleHeld = 50 * time.Millisecond

// tickleMost bounds how many rounds wait.
const tickleMost = 1 << 12

// round is clients that are due together.
type round struct {
	flows []beat.Flow
	at    time.Duration // since boot
	again int           // index in tickleAgain of the round after this one
}

// openReset opens what Tickle sends with. These sockets receive nothing; packets bring
// their own IP header.
func (p *Port) openReset() error {
	var err error
	if p.has(true) {
		if p.reset4, err = openSocket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_RAW); err != nil {
			return err
		}
	}
	if p.has(false) {
		p.reset6, err = openSocket(unix.AF_INET6, unix.SOCK_RAW, unix.IPPROTO_RAW)
	}
	return err
}

// Tickle has the clients of these connections reset: each is sent a TCP segment that
// it answers, and the kernel answers that with RST. It is sent from the virtual
// address, which must be held and announced; Release forgets who is still to be
// sent one. Sending is paced.
func (p *Port) Tickle(flows []beat.Flow) {
	r := round{at: boot(), flows: make([]beat.Flow, 0, len(flows))}
	for _, f := range flows {
		f.Client = netip.AddrPortFrom(f.Client.Addr().Unmap(), f.Client.Port())
		f.VIP = netip.AddrPortFrom(f.VIP.Addr().Unmap(), f.VIP.Port())
		if p.virtual(f.VIP.Addr()) && f.Client.Addr().Is4() == f.VIP.Addr().Is4() {
			r.flows = append(r.flows, f)
		}
	}
	p.mu.Lock()
	if p.held.Load() && len(p.tickles) < tickleMost && len(r.flows) > 0 {
		p.tickles = append(p.tickles, r)
	}
	p.mu.Unlock()
	select {
	case p.tickle <- struct{}{}:
	default: // it is going to look
	}
}

// tickleLoop sends what is due, burst by burst.
func (p *Port) tickleLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		timer.Reset(p.tickleDue())
		select {
		case <-p.done:
			return
		case <-p.tickle:
		case <-timer.C:
			continue
		}
		// Woken up early: the pause between bursts holds all the same.
		timer.Reset(ticklePause)
		select {
		case <-p.done:
			return
		case <-timer.C:
		}
	}
}

// tickleDue sends one burst if there is one, and tells how long to wait then. It
// sends under mu, so that nothing goes out once Release has returned.
func (p *Port) tickleDue() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, wait := boot(), never
	if len(p.tickles) > 0 && now > time.Duration(p.allowed.Load()) {
		// The kernel may have to ask for the client's MAC in the virtual
		// address's name, which is an announcement too.
		return tickleHeld
	}
	for i := range p.tickles {
		r := &p.tickles[i]
		if r.at > now {
			wait = min(wait, r.at-now)
			continue
		}
		n := min(tickleBurst, len(r.flows))
		p.sendSegments(r.flows[:n], r.again == 0)
		if again := r.again; again < len(tickleAgain) {
			p.tickles = append(p.tickles, round{r.flows[:n], now + tickleAgain[again], again + 1})
			r = &p.tickles[i] // append may have moved them
		}
		if r.flows = r.flows[n:]; len(r.flows) == 0 {
			p.tickles = append(p.tickles[:i], p.tickles[i+1:]...)
		}
		return ticklePause
	}
	return wait
}

// sendSegments sends one burst. What a full queue drops comes again.
func (p *Port) sendSegments(flows []beat.Flow, first bool) {
	for _, f := range flows {
		s := p.reset4
		if f.VIP.Addr().Is6() {
			s = p.reset6
		}
		err := s.send(segment(f), from(f.VIP.Addr(), 0), p.sockaddr(f.Client.Addr()))
		if err == nil && first {
			p.tickled.Add(1)
		}
	}
}
