package owner

import (
	"errors"
	"reflect"
	"testing"
	"time"
)

// desk is one machine, lb1 of lb1 to lb3, in the hands of a test.
type desk struct {
	t    *testing.T
	m    *Machine
	now  time.Duration
	etcd Snapshot
	dark bool // etcd answers nothing

	did     []Action  // since the last look
	waiting []Request // not answered, when etcd is dark
}

// at sets a desk up with this record in etcd.
func at(t *testing.T, r Record, change ...func(*Config)) *desk {
	t.Helper()
	cfg := Config{Node: "lb1", Boot: "now", Priority: 100, Peers: []string{"lb2", "lb3"}}
	for _, c := range change {
		c(&cfg)
	}
	d := &desk{t: t, now: time.Hour, etcd: Snapshot{Revision: 9, Record: r}}
	if r.Owner != "" {
		d.etcd.Record.Mod = 7
	}
	var err error
	if d.m, err = New(cfg, d.now); err != nil {
		t.Fatal(err)
	}
	d.do(d.m.Fit(d.now, Fitness{Listening: true, Healthy: 3}))
	return d
}

// others is the record of lb2, who owns term 5.
func others() Record { return Record{Owner: "lb2", Boot: "b2", Term: 5, Taken: 77, Hold: 250 * ms} }

// do notes actions and carries out what etcd and the kernel would do at once.
func (d *desk) do(actions []Action) {
	for _, a := range actions {
		d.did = append(d.did, a)
		switch a := a.(type) {
		case Request:
			if d.dark {
				d.waiting = append(d.waiting, a)
				continue
			}
			d.do(d.m.Answer(d.now, a.ID, d.commit(a)))
		case Drop:
			d.do(d.m.Dropped(d.now))
		}
	}
}

func (d *desk) commit(r Request) Reply {
	e := virtualEtcd{w: &world{}, now: d.etcd}
	reply := e.commit(&host{}, r)
	d.etcd = e.now
	return reply
}

// pass lets time pass, tick by tick.
func (d *desk) pass(t time.Duration) *desk {
	for end := d.now + t; d.now < end; {
		d.now = min(end, d.m.Next())
		d.do(d.m.Tick(d.now))
	}
	return d
}

func (d *desk) get(from string, m Message) *desk {
	d.do(d.m.Receive(d.now, from, m))
	return d
}

// ping is the owner's, of lb2.
func ping(seq uint64) Message {
	return Message{Kind: Ping, Boot: "b2", Term: 5, Taken: 77, Seq: seq, Owner: true, Holds: true, Short: true, Priority: 100, Fitness: Fitness{Listening: true, Healthy: 3}}
}

// hear lets lb2 be heard as the owner for a while.
func (d *desk) hear(t time.Duration) *desk {
	for end := d.now + t; d.now < end; d.pass(50 * ms) {
		d.get("lb2", ping(uint64(d.now)))
	}
	return d
}

// owns makes lb1 the owner, acknowledged by both.
func (d *desk) owns() *desk {
	d.t.Helper()
	d.pass(700 * ms)
	if !d.m.Status(d.now).Holds {
		d.t.Fatal("lb1 does not hold the address")
	}
	d.acknowledged(500 * ms)
	d.did = nil
	return d
}

// acknowledged lets both peers answer pings for a while.
func (d *desk) acknowledged(t time.Duration, change ...func(to string, m *Message)) *desk {
	for end := d.now + t; d.now < end; {
		n := len(d.did)
		d.pass(10 * ms)
		for _, a := range d.did[n:] {
			if s, ok := a.(Send); ok && s.Message.Kind == Ping && s.Message.Owner {
				ack := Message{Kind: Ack, Boot: s.Message.Boot, Term: s.Message.Term, Seq: s.Message.Seq, Grant: 500 * ms, Priority: 100, Fitness: Fitness{Listening: true, Healthy: 3}}
				for _, c := range change {
					c(s.To, &ack)
				}
				d.get(s.To, ack)
			}
		}
	}
	return d
}

// own is a record of an earlier life of lb1.
func own() Record { return Record{Owner: "lb1", Boot: "before", Term: 5, Hold: 250 * ms} }

// took returns the actions of a kind since the last look.
func took[A Action](d *desk) (all []A) {
	for _, a := range d.did {
		if a, ok := a.(A); ok {
			all = append(all, a)
		}
	}
	return all
}

// sent returns the messages of a kind since the last look.
func (d *desk) sent(kind Kind) (all []Send) {
	for _, s := range took[Send](d) {
		if s.Message.Kind == kind {
			all = append(all, s)
		}
	}
	return all
}

// asked returns the requests of a name since the last look.
func (d *desk) asked(what string) (all []Request) {
	for _, r := range took[Request](d) {
		if r.What == what {
			all = append(all, r)
		}
	}
	return all
}

// order returns the kinds of the actions since the last look, pings and reads apart.
func (d *desk) order() (all []string) {
	for _, a := range d.did {
		switch a := a.(type) {
		case Send:
			if a.Message.Kind != Ping {
				all = append(all, []string{"", "ping", "ack", "release", "offer"}[a.Message.Kind]+" "+a.To)
			}
		case Request:
			if a.What != "read" {
				all = append(all, a.What)
			}
		case Note:
		default:
			all = append(all, reflect.TypeOf(a).Name())
		}
	}
	return all
}

var errNobody = errors.New("nobody answers")
