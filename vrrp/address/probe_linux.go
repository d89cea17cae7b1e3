package address

import (
	"errors"
	"fmt"
	"time"
)

// A Probe asks so often, and waits so long after each question. An owner's kernel
// answers within a millisecond, however busy its processes are.
const (
	probeAsks = 3
	probeWait = 200 * time.Millisecond
)

// probeLate is how much later than planned a wait may end. After a longer stop of
// this process or machine, silence proves nothing.
const probeLate = time.Second

// errProbe are reasons why a probe says nothing.
var (
	errNoLink  = errors.New("the link is down")
	errStopped = errors.New("this process was stopped meanwhile")
)

// probe is one Probe under way.
type probe struct {
	number int
	claim  chan claim    // capacity 1: the first answer is enough
	stop   chan struct{} // closed under mu, by the next Probe
}

// answer notes an answer.
func (pr *probe) answer(c claim) {
	select {
	case pr.claim <- c:
	default:
	}
}

// Probe asks three times who has the addresses, as one who has none of them would
// (RFC 5227), and tells the outcome as an event with the number that it returns. It
// takes less than a second. A probe that is under way is given up for the new one.
func (p *Port) Probe() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed() {
		return 0
	}
	p.probes++
	pr := &probe{number: p.probes, claim: make(chan claim, 1), stop: make(chan struct{})}
	if old := p.probe.Swap(pr); old != nil {
		close(old.stop)
	}
	p.wg.Go(func() { p.runProbe(pr) })
	return pr.number
}

// runProbe asks and tells.
func (p *Port) runProbe(pr *probe) {
	e := Event{Kind: Probed, Probe: pr.number}
	c, err := p.ask(pr)
	e.Address, e.MAC = c.address, c.mac
	if err != nil {
		e.Err = fmt.Errorf("probe on %s: %w", p.o.Interface, err)
	}
	p.mu.Lock()
	last := p.probe.CompareAndSwap(pr, nil)
	p.mu.Unlock()
	if last {
		p.emit(e)
	}
}

// ask gives the first answer, or none.
func (p *Port) ask(pr *probe) (claim, error) {
	changes := p.changes.Load()
	for range probeAsks {
		link := p.Link()
		if !link.Up {
			return claim{}, errNoLink
		}
		if err := p.askAll(link); err != nil {
			return claim{}, err
		}
		began := boot()
		if c, ok := p.await(pr, probeWait); ok {
			return c, nil
		}
		if boot()-began > probeWait+probeLate {
			return claim{}, errStopped
		}
	}
	// What came while this goroutine, or the whole process, did not run.
	p.wire.drain(p.heardARP)
	if p.icmp != nil {
		p.icmp.drain(p.heardNA)
	}
	if c, ok := p.await(pr, 0); ok {
		return c, nil
	}
	// A link that went down or changed meanwhile may have lost the answer; the news
	// of it may not be read yet.
	link, err := find(p.rtnl, p.o.Interface)
	if err == nil && (!link.Up || p.changes.Load() != changes) {
		err = errNoLink
	}
	return claim{}, err
}

// askAll asks for each address.
func (p *Port) askAll(link Link) error {
	if len(link.MAC) != 6 {
		return errors.New("the link has no MACs")
	}
	for _, a := range p.vips {
		f, err := question(link.MAC, a)
		if err == nil {
			err = p.put(f, link.Index)
		}
		if err != nil {
			return fmt.Errorf("ask for %s: %w", a, err)
		}
	}
	return nil
}

// await waits for an answer.
func (p *Port) await(pr *probe, d time.Duration) (claim, bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case c := <-pr.claim:
		return c, true
	case <-timer.C:
	case <-pr.stop:
	case <-p.done:
	}
	select { // both at once
	case c := <-pr.claim:
		return c, true
	default:
		return claim{}, false
	}
}
