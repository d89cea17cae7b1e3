package admin

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// vipCells are the virtual IP as the page shows it.
type vipCells struct {
	Facts []fact
	Nodes []vipNodeCells
}

// fact is a name and what there is to say.
type fact struct{ Name, Text, Class string }

type vipNodeCells struct {
	Name, Address, State, Class, Why string
	Fitness, Heard, Paths, Clients   string
	Version, Since                   string
}

// vipTile is the first one: whoever is called at night asks who has the address.
func (v *View) vipTile() tile {
	p := v.VIP
	t := tile{Name: "Virtual IP", Big: string(p.State), Class: p.class(), Small: []string{strings.Join(p.Addresses, ", ")}}
	switch {
	case p.State == VIPActive:
		t.Small = append(t.Small, "this node owns it"+p.sinceText(v.At))
	case p.Owner != "":
		t.Small = append(t.Small, "owner "+p.Owner)
	default:
		t.Small = append(t.Small, "no owner is known")
	}
	if p.Arbiter == noArbiter {
		t.Small = append(t.Small, "without an arbiter: two owners are possible")
	}
	return t
}

// class is the colour of a state. A Backup is as it should be, unless nobody has the
// address.
func (p *VIP) class() string {
	switch {
	case p.State == VIPActive && p.Holds, p.State == VIPBackup && p.Owner != "":
		return "up"
	case p.Drained:
		return "off"
	case p.State == VIPFault:
		return "down"
	default:
		return "warn"
	}
}

func (p *VIP) sinceText(now time.Time) string {
	if p.Since.IsZero() {
		return ""
	}
	return " for " + span(now.Sub(p.Since))
}

// vipCells gives the panel, nil without a virtual IP and other nodes.
func (v *View) vipCells() *vipCells {
	if v.VIP == nil && v.Cluster == nil {
		return nil
	}
	c := &vipCells{}
	if v.VIP != nil {
		c.Facts = v.VIP.facts(v.At)
	}
	for _, name := range v.vipNodes() {
		c.Nodes = append(c.Nodes, v.vipNode(name))
	}
	return c
}

// vipNodes are the names of all nodes, this one first.
func (v *View) vipNodes() []string {
	var names []string
	if v.Cluster != nil {
		for i := range v.Cluster.Nodes {
			names = append(names, v.Cluster.Nodes[i].Name)
		}
		return names
	}
	names = append(names, v.VIP.Node)
	for i := range v.VIP.Peers {
		names = append(names, v.VIP.Peers[i].Name)
	}
	return names
}

func (p *VIP) facts(now time.Time) []fact {
	list := []fact{
		{"Owner", p.ownerText(), ""},
		{"Arbiter", p.arbiterText(), p.arbiterClass()},
		{"This node", fmt.Sprintf("%s%s, priority %d, on %s", p.State, p.sinceText(now), p.Priority, p.Interface), ""},
	}
	if p.Drained {
		list = append(list, fact{"Operator", "this node is drained: \"pgvip drain --undo\" has it take part again", "off"})
	}
	if p.Reason != "" {
		list = append(list, fact{"Last reason", p.Reason, ""})
	}
	list = append(list, p.Keeper.fact())
	if text := p.Counters.text(); text != "" {
		list = append(list, fact{"Counted", text, ""})
	}
	return list
}

func (k *Keeper) fact() fact {
	f := fact{Name: "Keeper", Text: "process " + strconv.Itoa(k.PID) + ", last beat " + age(k.Age) + " ago"}
	if k.PID == 0 {
		f.Text = "not running, last beat " + age(k.Age) + " ago"
	}
	if k.PID == 0 || k.Age > 1 {
		f.Class = "down"
	}
	if k.Trouble != "" {
		f.Text += fmt.Sprintf("; start %d, for the one before: %s", k.Starts, k.Trouble)
	}
	return f
}

// text tells what has happened at all.
func (k *VIPCounters) text() string {
	var list []string
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{k.BecameActive, "times Active"}, {k.GaveUp, "times given up"}, {k.Refuted, "claims refuted"}, {k.Conflicts, "conflicts"},
		{k.Readded, "times added again"}, {k.Tickled, "clients reset"}, {k.GARPSent, "announcements"},
		{k.AdvertsSent, "adverts sent"}, {k.AdvertsReceived, "received"}, {k.AdvertsBad, "not understood"},
	} {
		if c.n > 0 {
			list = append(list, strconv.FormatUint(c.n, 10)+" "+c.what)
		}
	}
	return strings.Join(list, ", ")
}

func (p *VIP) ownerText() string {
	text := p.Owner
	if text == "" {
		text = "not known"
	}
	if p.Epoch > 0 {
		text += ", epoch " + strconv.FormatInt(p.Epoch, 10)
	}
	if p.State == VIPActive && !p.Holds {
		text += ", but the address is not on the interface"
	}
	return text
}

func (p *VIP) arbiterText() string {
	switch p.Arbiter {
	case noArbiter:
		return "none: two owners are possible while nodes do not hear each other"
	case arbiterOutage:
		return "etcd is out of reach: ownership rests on the other nodes" + p.untilText()
	default:
		return p.Arbiter + p.untilText()
	}
}

func (p *VIP) untilText() string {
	if p.Until <= 0 {
		return ""
	}
	return fmt.Sprintf("; unconfirmed it may go on for %.0f ms", p.Until*1000)
}

func (p *VIP) arbiterClass() string {
	if p.Arbiter == noArbiter || p.Arbiter == arbiterOutage {
		return "warn"
	}
	return ""
}

// vipNode puts together what the cluster and the keeper know of a node.
func (v *View) vipNode(name string) vipNodeCells {
	c := vipNodeCells{Name: name, State: "–", Heard: "–", Clients: "–"}
	var why []string
	if n := v.clusterNode(name); n != nil {
		c.Address, c.Version, c.Clients = n.Address, n.Version, strconv.Itoa(n.Clients)
		if n.Presence == here {
			c.Since = since(v.At, n.Since)
		}
		c.Heard = age(n.Heard)
		c.Fitness = n.Fitness.text()
		c.State, c.Class = n.word()
		if n.Trouble != "" {
			why = append(why, n.Trouble)
		}
		if !n.SameConfig {
			why = append(why, "its configuration differs")
		}
		if n.Self {
			c.Heard = "this node"
		}
	}
	switch p := v.vipPeer(name); {
	case p != nil:
		c.Heard, c.Fitness, c.Paths = age(p.Heard), p.Fitness.text(), p.pathText()
		if !p.Healthy {
			why = append(why, "it does not answer the keeper")
		}
	case v.VIP != nil && name == v.VIP.Node:
		c.Heard, c.Fitness = "this node", v.VIP.Fitness.text()
		c.State, c.Class = string(v.VIP.State), v.VIP.class()
	}
	c.Why = strings.Join(why, "; ")
	return c
}

func (n *ClusterNode) word() (text, class string) {
	switch {
	case n.Presence != here:
		return n.Presence, "down"
	case n.State == "":
		return here, "up"
	case n.State == VIPFault:
		return string(n.State), "down"
	case n.State == VIPInit:
		return string(n.State), "warn"
	default:
		return string(n.State), "up"
	}
}

func (f *Fitness) text() string {
	var list []string
	if !f.Listening {
		list = append(list, "does not listen")
	}
	if f.Blind {
		list = append(list, "BLIND")
	}
	list = append(list, strconv.Itoa(f.Healthy)+" servers")
	if f.Weight != 0 {
		list = append(list, fmt.Sprintf("weight %+d", f.Weight))
	}
	if f.Fault != "" {
		list = append(list, f.Fault)
	}
	return strings.Join(list, ", ")
}

func (p *VIPPeer) pathText() string {
	var list []string
	for _, path := range p.Paths {
		list = append(list, path.Local+" "+age(path.Heard))
	}
	return strings.Join(list, ", ")
}

func (v *View) clusterNode(name string) *ClusterNode {
	if v.Cluster == nil {
		return nil
	}
	for i := range v.Cluster.Nodes {
		if v.Cluster.Nodes[i].Name == name {
			return &v.Cluster.Nodes[i]
		}
	}
	return nil
}

func (v *View) vipPeer(name string) *VIPPeer {
	if v.VIP == nil {
		return nil
	}
	for i := range v.VIP.Peers {
		if v.VIP.Peers[i].Name == name {
			return &v.VIP.Peers[i]
		}
	}
	return nil
}

// text is a line of "pgvip status".
func (p *VIP) text(now time.Time) string {
	text := fmt.Sprintf("%s: %s%s", strings.Join(p.Addresses, ", "), p.State, p.sinceText(now))
	if p.Drained {
		text += ", drained by an operator"
	}
	return text + "; owner " + p.ownerText() + "; arbiter " + p.arbiterText()
}

func (c *ClusterView) text() string {
	list := make([]string, len(c.Nodes))
	for i := range c.Nodes {
		word, _ := c.Nodes[i].word()
		list[i] = c.Nodes[i].Name + " " + word
	}
	return strings.Join(list, ", ")
}
