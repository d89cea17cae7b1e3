package instance

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pgvip/pgvip/vrrp/advert"
)

// router is a machine in a simulated network.
type router struct {
	m        *Machine
	c        Config
	priority uint8
	holds    bool
	asleep   bool // its process stands still, and its socket fills
	apart    bool // its cable is out
	socket   []packet
}

// packet is on its way, or in a socket.
type packet struct {
	due  time.Duration
	to   int
	p    advert.Packet
	from int
}

// world is a network of routers, which run at exact times. Packets take up to delay,
// each its own time, so that they overtake each other.
type world struct {
	t       *rapid.T
	now     time.Duration
	delay   time.Duration
	routers []*router
	wire    []packet
	both    time.Duration // for how long two that heard each other held the address
	told    int           // who announced last, -1 for nobody
	trace   []string
}

func newWorld(t *rapid.T) *world {
	w := &world{t: t, delay: time.Duration(rapid.IntRange(0, 20).Draw(t, "delay")) * ms}
	version := rapid.IntRange(2, 3).Draw(t, "version")
	preempt := rapid.Bool().Draw(t, "preempt")
	for i := range rapid.IntRange(2, 3).Draw(t, "routers") {
		c := Config{
			Version: version, Preempt: preempt,
			Priority:  rapid.Uint8Range(1, 254).Draw(t, "priority"),
			Source:    netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}),
			AdvertInt: time.Second,
		}
		if rapid.Bool().Draw(t, "tie") {
			c.Priority = 100
		}
		if version == 3 {
			c.AdvertInt = time.Duration(rapid.IntRange(1, 10).Draw(t, "interval")) * 100 * ms
		}
		if preempt {
			c.PreemptDelay = time.Duration(rapid.IntRange(0, 2).Draw(t, "preempt delay")) * time.Second
		}
		c.StartupDelay = time.Duration(rapid.IntRange(0, 2).Draw(t, "startup delay")) * 2 * time.Second
		m, err := New(c)
		if err != nil {
			t.Fatal(err)
		}
		w.routers = append(w.routers, &router{m: m, c: c, priority: c.Priority})
	}
	return w
}

// act does what a router wants, and holds it to the order: an address is added once,
// dropped when it is there, and nobody adverts a priority while it has none.
func (w *world) act(i int, acts []Action) {
	r := w.routers[i]
	said := false
	for _, a := range acts {
		w.trace = append(w.trace, fmt.Sprintf("%s %d %T%+v", w.now, i, a, a))
		switch a := a.(type) {
		case AddAddresses:
			if r.holds || !said {
				w.t.Fatalf("%d adds: holds %t, advert sent %t", i, r.holds, said)
			}
			r.holds = true
		case DropAddresses:
			if !r.holds {
				w.t.Fatalf("%d drops what it has not", i)
			}
			r.holds = false
		case SendAdvert:
			said = true
			if a.Priority == 0 && r.holds {
				w.t.Fatalf("%d says that it leaves, and holds the address", i)
			}
			w.send(i, a.Priority)
		case Announce:
			if !r.holds {
				w.t.Fatalf("%d announces what it has not", i)
			}
			w.told = i
		}
	}
	if active := r.m.Status().State == Active; active != r.holds {
		w.t.Fatalf("%d: Active is %t, holds the address %t", i, active, r.holds)
	}
}

func (w *world) send(from int, priority uint8) {
	r := w.routers[from]
	for to := range w.routers {
		if to == from || r.apart || w.routers[to].apart {
			continue
		}
		delay := time.Duration(rapid.Int64Range(0, int64(w.delay)).Draw(w.t, "d"))
		p := advert.Packet{Source: r.c.Source, TTL: 255}
		p.Version, p.Priority, p.Interval = r.c.Version, priority, r.c.AdvertInt
		w.wire = append(w.wire, packet{w.now + delay, to, p, from})
	}
}

// next is the earliest thing that happens: a packet's arrival or a router's timer.
func (w *world) next() (at time.Duration, arrival, timer int) {
	at, arrival, timer = 1<<62, -1, -1
	for i, p := range w.wire {
		if p.due < at {
			at, arrival = p.due, i
		}
	}
	for i, r := range w.routers {
		if due, ok := r.m.Next(); ok && !r.asleep && max(due, w.now) < at {
			at, arrival, timer = max(due, w.now), -1, i
		}
	}
	return at, arrival, timer
}

func (w *world) run(d time.Duration) {
	for end := w.now + d; ; {
		at, arrival, timer := w.next()
		if w.rivals() {
			w.both += min(at, end) - w.now
		}
		if at > end {
			w.now = end
			return
		}
		w.now = at
		switch {
		case arrival >= 0:
			p := w.wire[arrival]
			w.wire = slices.Delete(w.wire, arrival, arrival+1)
			w.arrive(p)
		case timer >= 0:
			w.act(timer, w.routers[timer].m.Tick(w.now))
		}
	}
}

func (w *world) arrive(p packet) {
	r := w.routers[p.to]
	switch {
	case r.asleep:
		r.socket = append(r.socket, p)
	case !r.apart:
		w.act(p.to, r.m.Heard(w.now, p.p))
	}
}

func (w *world) wake(i int) {
	r := w.routers[i]
	r.asleep = false
	if rapid.Bool().Draw(w.t, "timer before socket") {
		w.act(i, r.m.Tick(w.now))
	}
	for _, p := range r.socket {
		w.arrive(p)
	}
	r.socket = nil
}

// rivals says that two routers that hear each other and are awake hold the address.
func (w *world) rivals() bool {
	n := 0
	for _, r := range w.routers {
		if r.holds && !r.apart && !r.asleep {
			n++
		}
	}
	return n > 1
}

// fault does something bad to a router, or ends that.
func (w *world) fault() {
	i := rapid.IntRange(0, len(w.routers)-1).Draw(w.t, "router")
	r := w.routers[i]
	what := rapid.SampledFrom([]string{"stop", "start", "sleep", "cable", "fault", "recover", "priority"}).Draw(w.t, "fault")
	w.trace = append(w.trace, fmt.Sprintf("%s %d %s", w.now, i, what))
	switch {
	case what == "cable":
		r.apart = !r.apart
	case what == "sleep" && !r.asleep:
		r.asleep = true
	case r.asleep:
		w.wake(i)
	case what == "stop":
		w.act(i, r.m.Stop(w.now))
	case what == "start":
		w.act(i, r.m.Start(w.now))
	case what == "fault":
		w.act(i, r.m.Fault(w.now, "test"))
	case what == "recover":
		w.act(i, r.m.Fault(w.now, ""))
	case what == "priority":
		r.priority = rapid.Uint8Range(1, 254).Draw(w.t, "priority")
		w.act(i, r.m.SetPriority(w.now, r.priority))
	}
}

// heal ends all faults and starts everybody.
func (w *world) heal() {
	for i, r := range w.routers {
		r.apart = false
		if r.asleep {
			w.wake(i)
		}
		w.act(i, r.m.Fault(w.now, ""))
		w.act(i, r.m.Start(w.now))
	}
}

// settle is how long an election can take: the startup delay, a wait for somebody's
// silence, his preempt delay and another wait, each at the longest interval.
const settle = 4*s + 2*(3*s+s) + 2*s + 2*(3*s+s)

// TestOneIsActiveWhenAllHearEachOther: whatever happened before, and in whatever order
// packets come.
func TestOneIsActiveWhenAllHearEachOther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.heal()
		for range rapid.IntRange(0, 12).Draw(t, "faults") {
			w.run(time.Duration(rapid.IntRange(0, 6000).Draw(t, "pause")) * ms)
			w.fault()
		}
		w.heal()
		w.run(settle)
		w.both = 0
		w.run(10 * s)
		w.judge()
	})
}

func (w *world) judge() {
	var active []int
	for i, r := range w.routers {
		if r.holds {
			active = append(active, i)
		}
	}
	if len(active) != 1 || w.both != 0 {
		w.t.Fatalf("Active: %v, two for %s\n%s", active, w.both, w.tail())
	}
	owner := w.routers[active[0]]
	for i, r := range w.routers {
		if got := r.m.Status().Owner; got != owner.c.Source {
			w.t.Fatalf("%d takes %s for Active, it is %s\n%s", i, got, owner.c.Source, w.tail())
		}
	}
	best := slices.MaxFunc(w.routers, func(a, b *router) int { return cmp.Compare(a.priority, b.priority) })
	if owner.c.Preempt && owner.priority < best.priority {
		w.t.Fatalf("priority %d is Active beside %d\n%s", owner.priority, best.priority, w.tail())
	}
}

func (w *world) tail() string {
	var text string
	for _, line := range w.trace[max(0, len(w.trace)-60):] {
		text += line + "\n"
	}
	return text
}

// TestNobodyMovesWithoutReason: with preempt off and nothing wrong, who is Active stays it
// while others come and go.
func TestNobodyMovesWithoutReason(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for _, r := range w.routers {
			// Before anything is heard the own interval is all there is to go by.
			r.c.Preempt, r.c.AdvertInt = false, w.routers[0].c.AdvertInt
			r.m, _ = New(r.c)
		}
		w.act(0, w.routers[0].m.Start(0))
		w.run(settle)
		for range rapid.IntRange(1, 6).Draw(t, "events") {
			i := rapid.IntRange(1, len(w.routers)-1).Draw(t, "router")
			if m := w.routers[i].m; m.Status().State == Initialize {
				w.act(i, m.Start(w.now))
			} else {
				w.act(i, m.Stop(w.now))
			}
			w.run(time.Duration(rapid.IntRange(0, 6000).Draw(t, "pause")) * ms)
			if !w.routers[0].holds || w.both != 0 {
				t.Fatalf("it moved, or two for %s\n%s", w.both, w.tail())
			}
		}
	})
}

// TestAPauseLeavesNoTwo: a router that stood still must not stay Active beside the one
// that stepped in, not even until the next advert.
func TestAPauseLeavesNoTwo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		for i, r := range w.routers {
			r.c.StartupDelay, r.c.PreemptDelay = 0, 0
			r.m, _ = New(r.c)
			w.act(i, r.m.Start(0))
		}
		w.run(settle)
		w.both = 0
		for i, r := range w.routers {
			if r.holds {
				r.asleep = true
				w.run(time.Duration(rapid.IntRange(0, 20_000).Draw(t, "pause")) * ms)
				heirs := slices.Clone(w.routers)
				heirs = slices.DeleteFunc(heirs, func(h *router) bool { return h == r || !h.holds })
				w.wake(i)
				w.run(settle)
				if len(heirs) == 1 && !r.c.Preempt && !heirs[0].holds {
					t.Fatalf("the sleeper took it back\n%s", w.tail())
				}
				break
			}
		}
		// A Backup may have stepped in while the sleeper's last advert was under way, or
		// two Backups at once: that is over with the next advert to arrive.
		if w.both > 2*w.delay {
			t.Fatalf("two for %s\n%s", w.both, w.tail())
		}
		w.both = 0
		w.judge()
	})
}

// TestAfterAPartitionTheWinnerAnnounces: whoever heard the other one first. Part of the
// network may have learned that the loser has the address.
func TestAfterAPartitionTheWinnerAnnounces(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		w.heal()
		w.run(settle)
		i := rapid.IntRange(0, len(w.routers)-1).Draw(t, "apart")
		w.routers[i].apart = true
		w.run(time.Duration(rapid.IntRange(10_000, 20_000).Draw(t, "partition")) * ms)
		if !w.routers[i].holds {
			t.Fatalf("%d alone is not Active\n%s", i, w.tail())
		}
		w.told = -1
		w.routers[i].apart = false
		w.run(settle)
		w.both = 0
		w.judge()
		if w.told < 0 || !w.routers[w.told].holds {
			t.Fatalf("the last to announce was %d\n%s", w.told, w.tail())
		}
	})
}
