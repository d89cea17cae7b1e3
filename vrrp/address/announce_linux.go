package address

import (
	"errors"
	"fmt"
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// Allow says until when, in time since boot, this node is known to own the addresses.
// Announcements go out only until then and while the addresses are held: a process
// that was frozen and wakes up late must not draw the clients back to itself before
// its caller has looked whether it still owns anything.
func (p *Port) Allow(until time.Duration) {
	if was := time.Duration(p.allowed.Swap(int64(until))); was < boot() {
		p.wakeAnnouncer()
	}
}

// Announce begins the schedule of announcements anew: at once, some more soon,
// Repeat in all; the same again after Delay; then every Refresh. As long as it runs,
// hosts are found that have one of the addresses too, though they do not speak: their
// kernel is asked, and its answer is told as Claimed.
func (p *Port) Announce() {
	p.mu.Lock()
	p.schedule.start(boot())
	p.mu.Unlock()
	p.wakeAnnouncer()
}

// Rival announces at once in answer to a claim of somebody else. When called often it
// holds back more and more, so that two owners make no storm. Before Announce and
// after Quiet it does nothing.
func (p *Port) Rival() {
	p.mu.Lock()
	p.schedule.rival(boot())
	p.mu.Unlock()
	p.wakeAnnouncer()
}

// Quiet ends announcements.
func (p *Port) Quiet() {
	p.mu.Lock()
	p.schedule.stop()
	p.mu.Unlock()
}

// wakeAnnouncer has announceLoop look at the schedule.
func (p *Port) wakeAnnouncer() {
	select {
	case p.announce <- struct{}{}:
	default: // it is going to look
	}
}

// announceLoop sends what the schedule has.
func (p *Port) announceLoop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	told := "" // the failure told last
	for {
		wake, err := p.announceDue()
		if err == nil {
			told = ""
		} else if err.Error() != told {
			told = err.Error()
			p.emit(Event{Kind: Failed, Err: err})
		}
		timer.Reset(wake)
		select {
		case <-p.done:
			return
		case <-p.announce:
		case <-timer.C:
		}
	}
}

// announceDue announces if it is time, and tells when to come again. It sends under
// mu, so that nothing goes out once Release or Quiet has returned.
func (p *Port) announceDue() (time.Duration, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := boot()
	var err error
	if !p.held.Load() || now > time.Duration(p.allowed.Load()) {
		return never, nil // what is due stays due until Allow
	}
	link := p.Link()
	if p.schedule.due(now) && link.Up {
		err = p.announceAll(link)
	}
	if p.schedule.asks(now) && link.Up && len(link.MAC) == 6 {
		err = errors.Join(err, p.askAll(link)) // who answers is Claimed
	}
	return p.schedule.wake() - now, err
}

// announceAll sends all forms for all addresses, whichever fail.
func (p *Port) announceAll(link Link) error {
	if len(link.MAC) != 6 {
		return nil // no Ethernet, no caches of MACs
	}
	var failed error
	for _, a := range p.vips {
		frames, err := announcement(link.MAC, a, p.router)
		for _, f := range frames {
			if err == nil {
				err = p.put(f, link.Index)
			}
			if err == nil {
				p.announced.Add(1)
			}
		}
		if err != nil {
			failed = fmt.Errorf("announce %s: %w", a, err)
		}
	}
	return failed
}

// put sends a frame by the interface.
func (p *Port) put(f frame, index int) error {
	to := &unix.SockaddrLinklayer{
		Protocol: network(uint16(f.proto)),
		Ifindex:  index,
		Halen:    uint8(len(f.to)),
		Addr:     address8(f.to),
	}
	return p.wire.send(f.payload, nil, to)
}

// address8 is a MAC in the kernel's field.
func address8(mac net.HardwareAddr) (a [8]byte) {
	copy(a[:], mac)
	return a
}
