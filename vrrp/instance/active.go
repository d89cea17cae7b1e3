package instance

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pgvip/pgvip/vrrp/advert"
)

// quarrel is how long a rival has to be silent before it is worth another line.
const quarrel = 10 * time.Second

// toActive: the advert goes first, so that other Backups stay where they are (section
// 6.4.2, and keepalived's order).
func (m *Machine) toActive(why string) {
	m.become(Active, why)
	m.ready, m.notBefore, m.patient = true, 0, false
	m.owner, m.ownerPriority, m.rival = m.source, m.priority, netip.Addr{}
	m.advertise()
	m.do(AddAddresses{}, Announce{})
}

// advertise sends an advert and sets Adver_Timer.
func (m *Machine) advertise() {
	m.sent = m.now
	m.do(SendAdvert{m.priority})
}

// giveUp ends being Active, if it is. The address goes before the word, so that nobody
// who hears it can own it at the same time.
func (m *Machine) giveUp() {
	if m.state == Active {
		m.do(DropAddresses{}, SendAdvert{0})
		m.owner = netip.Addr{}
	}
}

// heardActive is section 6.4.3.
func (m *Machine) heardActive(p advert.Packet) {
	switch {
	case p.Priority == 0:
		m.advertise()
	case m.better(p):
		// A last advert of ours, beyond the RFC: the other one may not know that there
		// were two, and announces the address again when it hears of it.
		m.do(DropAddresses{}, SendAdvert{m.priority})
		m.learn(p)
		m.toBackup(fmt.Sprintf("%s is Active with priority %d", p.Source, p.Priority))
	default:
		// Discard, and assert the Active state by an advert at once. What the network learned from the rival is corrected, too.
		m.assert()
		m.do(Announce{Rival: true})
		if p.Source != m.rival || m.now-m.rivalAt > quarrel {
			m.note(Note{Kind: "conflict", Warn: true, Text: fmt.Sprintf("%s was Active, too, with priority %d", p.Source, p.Priority)})
		}
		m.rival, m.rivalAt = p.Source, m.now
	}
}

// assert sends an advert unless one has just gone: it is still on its way. Two that
// both think themselves better, through a translator of addresses, would otherwise
// answer each other as fast as they can.
func (m *Machine) assert() {
	if m.now-m.sent >= m.c.AdvertInt/10 {
		m.advertise()
	}
}

// better says that the sender is to be Active rather than this router. Without an
// address of its own, this router is not.
func (m *Machine) better(p advert.Packet) bool {
	if p.Priority != m.priority {
		return p.Priority > m.priority
	}
	return p.Source.Compare(m.source) > 0
}

// validate is for an Active router whose process stood still: when it has been silent
// for as long as a Backup waits at the least, it may have been replaced, and is Backup
// until it has listened. The address may have been on two nodes until now; not longer.
func (m *Machine) validate() {
	silent := m.now - m.sent
	if silent < time.Duration(max(m.c.DownTimerAdverts, 2))*m.c.AdvertInt { // one is the usual
		return
	}
	m.stood = true
	m.do(DropAddresses{})
	m.owner = netip.Addr{}
	m.interval = m.c.AdvertInt
	m.toBackup(fmt.Sprintf("stood still for %s: listens first", silent.Round(time.Millisecond)))
}
