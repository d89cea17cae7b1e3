package instance

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/pgvip/pgvip/vrrp/advert"
)

// Machine is one virtual router. It belongs to one goroutine. Times are since boot
// (CLOCK_BOOTTIME): a clock that stood still with the process would hide the very
// pauses that matter here.
type Machine struct {
	c        Config
	priority uint8 // effective
	source   netip.Addr

	state State
	why   string // why it is in Fault
	now   time.Duration

	// Of Active.
	sent time.Duration // when the last advert went out

	// Of Backup.
	interval  time.Duration // Active_Adver_Interval: learned with version 3
	base      time.Duration // when the timer was set
	wait      wait          // for what
	patient   bool          // bears a lower priority, until:
	preempt   time.Duration
	notBefore time.Duration // end of StartupDelay; 0 once anybody was heard
	ready     bool          // an election has come to a result since Start

	owner         netip.Addr // who was last known Active, not valid for nobody
	ownerPriority uint8
	ownerUntil    time.Duration // when its next advert is overdue
	rival         netip.Addr    // whom this router answered last while Active
	rivalAt       time.Duration // when

	stood bool     // the call under way found that the process had stood still
	acts  []Action // of the call under way
}

// New makes a router in Initialize.
func New(c Config) (*Machine, error) {
	if err := c.validate(); err != nil {
		return nil, err
	}
	if c.DownTimerAdverts == 0 {
		c.DownTimerAdverts = 3
	}
	return &Machine{c: c, priority: c.Priority, source: c.Source, state: Initialize}, nil
}

// Start begins: Active at once with priority 255, otherwise Backup (section 6.4.1).
func (m *Machine) Start(now time.Duration) []Action {
	m.enter(now)
	if m.state != Initialize {
		return nil
	}
	m.ready, m.owner = false, netip.Addr{}
	if m.c.StartupDelay > 0 {
		m.notBefore = m.now + m.c.StartupDelay
	}
	switch {
	case m.why != "":
		m.become(Fault, m.why)
	case m.priority == 255:
		m.toActive("priority 255 owns the addresses")
	default:
		m.toBackup("started")
	}
	return m.leave()
}

// Stop ends it, and says so to the others when it was Active.
func (m *Machine) Stop(now time.Duration) []Action {
	m.enter(now)
	if m.state == Initialize {
		return nil
	}
	m.giveUp()
	m.become(Initialize, "stopped")
	m.ready = false
	return m.leave()
}

// Fault says why this router cannot serve, "" that it can (again). It may come before
// Start.
func (m *Machine) Fault(now time.Duration, why string) []Action {
	m.enter(now)
	before := m.why
	m.why = why
	switch {
	case m.state == Initialize:
	case why != "" && m.state != Fault:
		m.giveUp()
		m.become(Fault, why)
	case why != "" && why != before:
		m.note(Note{Kind: "state", State: Fault, Text: why})
	case why == "" && m.state == Fault && m.priority == 255:
		m.toActive("recovered; priority 255 owns the addresses")
	case why == "" && m.state == Fault:
		m.toBackup("recovered")
	}
	return m.leave()
}

// Heard is an advert of another router that Judge did not drop. All adverts that
// came before a Tick are to be told before it.
func (m *Machine) Heard(now time.Duration, p advert.Packet) []Action {
	m.enter(now)
	switch m.state {
	case Active:
		m.validate()
		if m.state == Active {
			m.heardActive(p)
		} else {
			m.heardBackup(p)
		}
	case Backup:
		m.heardBackup(p)
	}
	return m.leave()
}

// Tick is to come at Next, or soon after. One that comes early does nothing.
func (m *Machine) Tick(now time.Duration) []Action {
	m.enter(now)
	switch m.state {
	case Active:
		m.validate()
		if m.state == Active && m.now >= m.due() {
			m.advertise()
		}
	case Backup:
		if m.now >= m.due() {
			m.expire()
		}
	}
	return m.leave()
}

// Next is when Tick is wanted; there is none in Initialize and Fault.
func (m *Machine) Next() (time.Duration, bool) {
	return m.due(), m.state == Active || m.state == Backup
}

// SetPriority changes the effective priority, 1..255: the configured one and the
// weights of what is tracked.
func (m *Machine) SetPriority(now time.Duration, priority uint8) []Action {
	m.enter(now)
	priority = max(priority, 1) // 0 would say that this router leaves
	if priority == m.priority {
		return nil
	}
	m.priority = priority
	if m.state == Active {
		m.validate()
	}
	if m.state == Active {
		// At once, so that a Backup that now is better begins to wait.
		m.advertise()
	}
	return m.leave()
}

// SetSource changes the primary address.
func (m *Machine) SetSource(source netip.Addr) { m.source = source }

// Status is how things stand.
type Status struct {
	State    State
	Why      string // of Fault
	Priority uint8  // effective
	// Owner is the Active router's address: this one's, or that of whom it heard;
	// not valid for unknown.
	Owner netip.Addr
	// Ready says that the first election since Start has come to a result.
	Ready bool
}

// Status returns it.
func (m *Machine) Status() Status {
	s := Status{State: m.state, Why: m.why, Priority: m.priority, Owner: m.owner, Ready: m.ready}
	if m.state == Active {
		s.Owner = m.source
	}
	return s
}

// enter begins a call. Time never runs backwards here, whatever the caller's does.
func (m *Machine) enter(now time.Duration) {
	m.now = max(m.now, now)
	m.stood, m.acts = false, nil
}

func (m *Machine) leave() []Action {
	acts := m.acts
	m.acts = nil
	return acts
}

func (m *Machine) do(a ...Action) { m.acts = append(m.acts, a...) }

func (m *Machine) note(n Note) { m.do(n) }

// become changes the state and says so.
func (m *Machine) become(s State, why string) {
	m.state = s
	m.note(Note{Kind: "state", State: s, Warn: s == Fault || m.stood, Text: fmt.Sprintf("%s (priority %d)", why, m.priority)})
}
