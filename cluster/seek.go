package cluster

import (
	"errors"
	"math/rand/v2"
	"strings"
	"time"
)

// Missing peers are looked for this often, for ever: memberlist forgets the dead
// after half a minute and never dials them again. The spread keeps nodes that were
// parted together from dialing in step.
const (
	seekInterval = time.Second
	seekSpread   = time.Second
)

var errNameTaken = errors.New("another node goes by this node's name")

// seek joins the peers that are missing.
func (c *Cluster) seek() {
	for {
		c.roster.resolve(c.ctx)
		for _, name := range c.missing() {
			if c.ctx.Err() != nil {
				return
			}
			c.join(name)
		}
		pause := time.NewTimer(seekInterval + rand.N(seekSpread))
		select {
		case <-pause.C:
		case <-c.rejoin:
			pause.Stop()
			// Somebody has just gone or was refused: do not hammer.
			select {
			case <-time.After(reportPause):
			case <-c.ctx.Done():
				return
			}
		case <-c.ctx.Done():
			pause.Stop()
			return
		}
	}
}

// missing are the configured peers that are not here.
func (c *Cluster) missing() []string {
	var list []string
	names := c.roster.names()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, name := range names {
		if m := c.members[name]; m == nil || !m.alive {
			list = append(list, name)
		}
	}
	return list
}

// join tries to reach a peer at each of its addresses.
func (c *Cluster) join(name string) {
	addrs := c.roster.where(name)
	trouble := ""
	if len(addrs) == 0 {
		trouble = "its name has no address"
	}
	for _, a := range addrs {
		_, err := c.list.Join([]string{name + "/" + a.String()})
		if err == nil {
			return // the peer's own word on whether it lives decides the rest
		}
		trouble = oneLine(err)
	}
	c.mu.Lock()
	m := c.memberLocked(name)
	c.counters.JoinErrors++
	news := m.trouble != trouble
	m.trouble = trouble
	c.mu.Unlock()
	if news && !plain(trouble) {
		c.event(Event{Kind: PeerRefused, Node: name, Warn: true, Text: trouble})
	}
}

// Refusals are told once for each text. That somebody has this node's name is told
// only when it goes on: after a restart with another address the peers speak of the
// process before for a moment.
const (
	maxRefusals = 64 // are remembered
	nameDoubt   = 2 * time.Second
)

// refusal is somebody who was not admitted.
type refusal struct {
	since time.Duration
	told  bool
}

// refused tells of somebody who was not admitted.
func (c *Cluster) refused(kind EventKind, node, text string) {
	doubt := time.Duration(0)
	if kind == NameTaken {
		doubt = nameDoubt
	}
	if c.notesRefusal(text, doubt) {
		c.event(Event{Kind: kind, Node: node, Warn: true, Text: text})
	}
}

// notesRefusal reports that a refusal is to be told now.
func (c *Cluster) notesRefusal(text string, doubt time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.refusals[text]
	if r == nil {
		if len(c.refusals) >= maxRefusals {
			clear(c.refusals)
		}
		r = &refusal{since: c.now()}
		c.refusals[text] = r
	}
	tell := !r.told && c.now()-r.since >= doubt
	r.told = r.told || tell
	return tell
}

// oneLine makes memberlist's list of errors, which here has one, readable.
func oneLine(err error) string {
	text := err.Error()
	if _, after, ok := strings.Cut(text, "* "); ok {
		text = after
	}
	return strings.Join(strings.Fields(text), " ")
}

// plain reports that nobody was there: what is to be expected of a node that is
// down, and told of by PeerUnreachable.
func plain(trouble string) bool {
	for _, s := range []string{"connection refused", "timeout", "no route", "unreachable", errFiltered.Error()} {
		if strings.Contains(trouble, s) {
			return true
		}
	}
	return false
}
