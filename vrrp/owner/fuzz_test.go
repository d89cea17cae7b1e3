package owner

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"
)

// puppet drives one machine by arbitrary bytes: times, messages, answers of etcd,
// commands. It holds the machine to what no input may change.
type puppet struct {
	t    *testing.T
	m    *Machine
	now  time.Duration
	data []byte

	etcd     Snapshot
	requests []Request
	probes   []uint64

	held     map[int64]bool           // terms of Hold
	over     int64                    // the highest term of Drop
	asked    bool                     // Drop without Dropped
	promised map[string]time.Duration // by an Ack, until something comes from that peer
	grant    time.Duration
}

func (p *puppet) byte() byte {
	if len(p.data) == 0 {
		return 0
	}
	b := p.data[0]
	p.data = p.data[1:]
	return b
}

func (p *puppet) peer() string { return []string{"lb2", "lb3", "stranger", "lb1"}[p.byte()%4] }

// deadline of nearly everything that the machine counts by.
func (p *puppet) time() time.Duration { return time.Duration(p.byte()) * 11 * ms }

func (p *puppet) message() Message {
	flags := p.byte()
	return Message{Kind: Kind(p.byte() % 6), Boot: []string{"boot", "other"}[flags&1], Term: int64(p.byte()) % 12, Seq: p.m.seq - uint64(p.byte()%4) + uint64(flags&8),
		Taken: p.time(), Owner: flags&2 > 0, Holds: flags&4 > 0, Short: flags&16 > 0, Dark: flags&32 > 0, DarkFor: p.time(), Grant: p.time(), Done: int64(p.byte()) % 12,
		Priority: int(p.byte()), Wants: flags&64 > 0, Fitness: Fitness{Listening: flags&128 > 0}}
}

// etcdDoes lets somebody else change the keys, by the rules of the keys.
func (p *puppet) etcdDoes() {
	p.etcd.Revision++
	if p.byte()%2 == 0 {
		p.etcd.Claim = Claim{Node: p.peer(), Boot: "other", Record: p.etcd.Record.Mod, Mod: p.etcd.Revision}
		return
	}
	p.etcd.Record = Record{Owner: p.peer(), Boot: []string{"boot", "other"}[p.byte()%2], Term: p.etcd.Record.Term + int64(p.byte()%3), Taken: p.time(), Hold: p.time(), Wait: p.time(), Mod: p.etcd.Revision}
	if p.byte()%4 == 0 {
		p.etcd.Record = Record{}
	}
	p.etcd.Claim = Claim{}
}

// answer answers one of the requests, or says that its outcome is unknown, whether
// it was committed or not.
func (p *puppet) answer() []Action {
	if len(p.requests) == 0 {
		return p.m.Tick(p.now)
	}
	i := int(p.byte()) % len(p.requests)
	r := p.requests[i]
	p.requests = append(p.requests[:i], p.requests[i+1:]...)
	how := p.byte() % 8
	reply := Reply{Err: errors.New("unknown")}
	if how != 1 {
		e := virtualEtcd{w: &world{}, now: p.etcd}
		reply = e.commit(&host{}, r)
		p.etcd = e.now
	}
	if how == 2 {
		reply = Reply{Err: errors.New("unknown")}
	}
	return p.m.Answer(p.now, r.ID, reply)
}

func (p *puppet) step() []Action {
	p.now += time.Duration(p.byte()) * ms
	if p.byte()%32 == 0 {
		p.now += 3 * time.Second
	}
	switch p.byte() % 16 {
	case 0, 1, 2:
		return p.answer()
	case 3, 4, 5:
		from := p.peer()
		delete(p.promised, from)
		return p.m.Receive(p.now, from, p.message())
	case 6:
		return p.m.Heard(p.now, p.peer(), p.byte())
	case 7:
		p.etcdDoes()
		return p.m.Watched(p.now, p.etcd)
	case 8:
		return p.m.Fit(p.now, Fitness{Listening: true, Fault: p.byte()%16 == 0})
	case 9:
		return p.m.Move(p.now, []string{"*", "lb2", "-", "stranger"}[p.byte()%4])
	case 10:
		if p.byte()%8 == 0 {
			return p.m.Leave(p.now)
		}
		return p.m.MainGone(p.now)
	case 11:
		p.asked = false
		return p.m.Dropped(p.now)
	case 12:
		if len(p.probes) > 0 {
			return p.m.Probed(p.now, p.probes[int(p.byte())%len(p.probes)], p.byte()%4 == 0)
		}
	case 13:
		p.now = max(p.now, p.m.Next())
	}
	return p.m.Tick(p.now)
}

func (p *puppet) judge(actions []Action) {
	if n := len(actions); n > 100 {
		p.t.Fatalf("%d actions at once", n)
	}
	for _, a := range actions {
		switch a := a.(type) {
		case Hold:
			p.judgeHold(a)
		case Drop:
			p.over, p.asked = max(p.over, a.Term), true
		case Send:
			if a.Message.Kind == Release && p.asked && p.held[a.Message.Term] && a.Message.Term == p.over {
				p.t.Fatalf("term %d released before the address was gone", a.Message.Term)
			}
			if a.Message.Kind == Ack {
				p.promised[a.To] = max(p.promised[a.To], p.now+p.grant)
			}
			if a.To != "lb2" && a.To != "lb3" {
				p.t.Fatalf("a message for %q", a.To)
			}
		case Request:
			p.requests = append(p.requests, a)
		case Probe:
			p.probes = append(p.probes, a.ID)
		}
	}
	if next := p.m.Next(); next <= p.now {
		p.t.Fatalf("the next tick is due at %v, now is %v", next, p.now)
	}
	st := p.m.Status(p.now)
	if st.Holds && !st.Owns || st.Owns && st.Owner != "lb1" {
		p.t.Fatalf("contradicts itself: %+v", st)
	}
}

func (p *puppet) judgeHold(a Hold) {
	if a.Until <= p.now {
		p.t.Fatalf("holds until %v at %v", a.Until, p.now)
	}
	if a.Term <= p.over {
		p.t.Fatalf("holds term %d, and has dropped %d", a.Term, p.over)
	}
	for to, until := range p.promised {
		if until > p.now && !p.held[a.Term] {
			p.t.Fatalf("holds at %v and has promised %s not to before %v", p.now, to, until)
		}
	}
	p.held[a.Term] = true
}

// play runs a machine through the bytes.
func play(t *testing.T, data []byte) {
	p := &puppet{t: t, data: data, now: time.Hour, held: map[int64]bool{}, promised: map[string]time.Duration{}}
	flags := p.byte()
	cfg := Config{Node: "lb1", Boot: "boot", Priority: 100, Peers: []string{"lb2", "lb3"}, ARP: flags&1 > 0, Preempt: flags&2 > 0, Resume: flags&4 > 0}
	if flags&8 > 0 {
		cfg.Peers = cfg.Peers[:1]
	}
	p.grant = cfg.withDefaults().Grant
	p.etcd.Record = Record{Owner: "lb1", Boot: "boot", Term: 2, Hold: 250 * ms, Mod: 1}
	p.etcd.Revision = 1
	m, err := New(cfg, p.now)
	if err != nil {
		t.Fatal(err)
	}
	p.m = m
	p.judge(m.Tick(p.now))
	for len(p.data) > 0 {
		p.judge(p.step())
	}
}

// FuzzMachine: whatever comes in, the machine neither panics nor breaks its word.
func FuzzMachine(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(noise(seed, 4000))
	}
	f.Fuzz(play)
}

// noise is arbitrary but the same for the same seed.
func noise(seed uint64, n int) []byte {
	rnd := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rnd.Uint32())
	}
	return b
}

// TestMachineKeepsItsWord plays what the fuzzer begins with, and much more.
func TestMachineKeepsItsWord(t *testing.T) {
	for seed := range uint64(2000) {
		play(t, noise(seed, 3000))
	}
}
