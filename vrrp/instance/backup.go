package instance

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pgvip/pgvip/vrrp/advert"
)

// wait is what a Backup's timer waits for.
type wait uint8

const (
	down  wait = iota // Active_Down_Interval without an advert
	skew              // the Active router has left
	relay             // one more advert, after an own pause
)

// slack is how late the runtime may be without having missed anything.
const slack = 50 * time.Millisecond

// toBackup. The learned interval is the caller's to set; Initialize and Fault know none.
func (m *Machine) toBackup(why string) {
	if m.state == Initialize || m.state == Fault {
		m.interval, m.owner = m.c.AdvertInt, netip.Addr{}
	}
	m.become(Backup, why)
	m.patient = false
	m.set(down)
}

func (m *Machine) set(w wait) { m.base, m.wait = m.now, w }

// heardBackup is section 6.4.2.
func (m *Machine) heardBackup(p advert.Packet) {
	if m.notBefore != 0 {
		// Somebody can be heard, so the network forwards: what there was to wait for.
		m.notBefore = 0
		m.set(down)
	}
	if p.Priority == 0 {
		m.heardLeaving(p)
		return
	}
	if m.yields(p) {
		return
	}
	if m.owner != p.Source || m.ownerPriority != p.Priority {
		m.note(Note{Kind: "peer", Text: fmt.Sprintf("%s is Active with priority %d", p.Source, p.Priority)})
	}
	m.follow(p)
	m.ready = true
	if m.bears(p) {
		m.learn(p)
		m.set(down)
	}
	// Otherwise: "Discard the ADVERTISEMENT", and the timer runs out.
}

// heardLeaving: only the Active router's leaving makes room. Another one that leaves
// had been Active beside it; the RFC does not tell them apart, and would have two again.
func (m *Machine) heardLeaving(p advert.Packet) {
	if m.owner.IsValid() && m.owner != p.Source {
		return
	}
	m.owner, m.patient = netip.Addr{}, false
	m.set(skew)
}

// bears says that the sender may stay Active, as far as this router is concerned.
func (m *Machine) bears(p advert.Packet) bool {
	if p.Priority >= m.priority || !m.c.Preempt {
		m.patient = false
		return true
	}
	if !m.patient {
		m.patient, m.preempt = true, m.now+m.c.PreemptDelay
	}
	return m.now < m.preempt
}

// learn adopts the interval of the Active router. In version 2 a packet with another
// one than ours is not for us at all.
func (m *Machine) learn(p advert.Packet) {
	if m.c.Version == 3 && p.Interval > 0 {
		m.interval = p.Interval
	}
	m.follow(p)
}

// follow takes the sender for the Active router.
func (m *Machine) follow(p advert.Packet) {
	m.owner, m.ownerPriority, m.ownerUntil = p.Source, p.Priority, m.now+p.Interval*3/2
}

// yields says that the sender is not the Active router that is known and heard, but one
// beside it and worse, who gives way. What he says of his interval counts no more: it
// could be shorter, and the Active router seem overdue. The RFC does not look.
func (m *Machine) yields(p advert.Packet) bool {
	if !m.owner.IsValid() || p.Source == m.owner || m.now > m.ownerUntil {
		return false
	}
	return p.Priority < m.ownerPriority || p.Priority == m.ownerPriority && p.Source.Less(m.owner)
}

// expire is the end of Active_Down_Timer.
func (m *Machine) expire() {
	if late := m.now - m.due(); late > max(slack, m.c.AdvertInt) {
		m.set(relay)
		return
	}
	switch m.wait {
	case skew:
		m.toActive("the Active router has left")
	case down, relay:
		why := "no Active router is heard"
		if m.patient {
			why = fmt.Sprintf("takes over from priority %d", m.ownerPriority)
		} else if m.owner.IsValid() {
			why = fmt.Sprintf("%s is not heard any more", m.owner)
		}
		m.toActive(why)
	default:
		panic(fmt.Sprintf("BUG: wait %d", m.wait))
	}
}

// due is when the timer of the state ends. It follows a change of priority.
func (m *Machine) due() time.Duration {
	if m.state == Active {
		return m.sent + m.c.AdvertInt
	}
	switch m.wait {
	case skew:
		return m.base + m.skewTime()
	case relay:
		return m.base + m.interval + m.skewTime()
	case down:
		return max(m.base+time.Duration(m.c.DownTimerAdverts)*m.interval+m.skewTime(), m.notBefore)
	default:
		panic(fmt.Sprintf("BUG: wait %d", m.wait))
	}
}

// skewTime lets the best of several Backups wake first (section 6.1): a higher priority
// waits less. In version 2 it is a part of a second, whatever the interval.
func (m *Machine) skewTime() time.Duration {
	unit := m.interval
	if m.c.Version == 2 {
		unit = time.Second
	}
	return time.Duration(256-int(m.priority)) * unit / 256
}
