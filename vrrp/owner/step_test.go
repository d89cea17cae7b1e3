package owner

import (
	"slices"
	"testing"
	"time"
)

// Single decisions. The rules' numbers are those of the design.

func TestAcknowledging(t *testing.T) {
	ready := func(t *testing.T) *desk { return at(t, others()).hear(700 * ms) }
	dark := func(t *testing.T) *desk {
		d := ready(t)
		d.dark = true
		return d.hear(time.Second)
	}
	for _, tt := range []struct {
		name string
		desk func(t *testing.T) *desk
		ping func(*Message)
		want time.Duration // the grant, 0 for none
	}{
		{"the owner", ready, func(*Message) {}, 500 * ms},
		{"who counts on short grants only, in the dark", dark, func(*Message) {}, 500 * ms},
		{"who has no etcd, with etcd here", ready, func(m *Message) { m.Short, m.Dark = false, true }, 500 * ms},
		{"who has no etcd, in the dark", dark, func(m *Message) { m.Short, m.Dark = false, true }, 2500 * ms},
		{"nobody who does not own", ready, func(m *Message) { m.Owner = false }, 0},
		{"nobody of an older term", ready, func(m *Message) { m.Term = 4 }, 0},
		{"nobody twice", ready, func(m *Message) { m.Seq = 1 }, 0},
		{"nobody right after the start", func(t *testing.T) *desk { return at(t, others()).pass(500 * ms) }, func(*Message) {}, 0},
		{"nobody while resuming", func(t *testing.T) *desk {
			d := at(t, others(), func(c *Config) { c.Resume = true })
			d.dark = true
			return d
		}, func(*Message) {}, 0},
		{"nobody while it claims", func(t *testing.T) *desk { return ready(t).pass(450 * ms) }, func(*Message) {}, 0},
		{"nobody's released ownership", func(t *testing.T) *desk {
			d := ready(t)
			d.do(d.m.Fit(d.now, Fitness{Fault: true})) // and does not want it
			return d.get("lb2", Message{Kind: Release, Boot: "b2", Term: 5, Taken: 77})
		}, func(*Message) {}, 0},
		{"the same term when it was taken anew", func(t *testing.T) *desk {
			d := ready(t)
			d.dark = true
			return d.pass(800*ms).get("lb2", Message{Kind: Release, Boot: "b2", Term: 5, Taken: 77})
		}, func(m *Message) { m.Taken = 78 }, 500 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.desk(t)
			d.did = nil
			m := ping(uint64(d.now))
			tt.ping(&m)
			d.get("lb2", m)
			got := time.Duration(0)
			for _, a := range d.sent(Ack) {
				got = a.Message.Grant
			}
			if got != tt.want {
				t.Errorf("grants %v, want %v", got, tt.want)
			}
			if p := took[Persist](d); got > 500*ms && (len(p) != 1 || p[0].Until < d.now+got+100*ms || p[0].Term != 5) {
				t.Errorf("stored %v for a grant of %v", p, got)
			}
			if i := slices.Index(d.order(), "Persist"); i > 0 {
				t.Errorf("it is stored after the acknowledgement: %v", d.order())
			}
		})
	}
}

// An address that is still on its way off the interface is held by somebody: no
// agreeing to another owner yet.
func TestNoAcknowledgementBeforeTheAddressIsGone(t *testing.T) {
	d := at(t, own()).owns()
	for range 3 { // the runtime does not get it done
		d.now += 60 * ms
		d.m.MainGone(d.now)
		for _, a := range d.m.Receive(d.now, "lb2", Message{Kind: Ping, Boot: "b2", Term: 9, Taken: 9, Seq: uint64(d.now), Owner: true}) {
			if s, ok := a.(Send); ok && s.Message.Kind == Ack {
				t.Fatalf("agrees: %+v", s.Message)
			}
		}
	}
	if len(d.m.Dropped(d.now)) == 0 {
		t.Error("says nothing when the address is gone")
	}
}

// A release is repeated, and may come when the same node owns again.
func TestLateReleaseEndsNoNewPromise(t *testing.T) {
	d := at(t, others()).hear(700 * ms)
	newer := ping(uint64(d.now) + 1)
	newer.Term, newer.Taken = 9, 90
	d.get("lb2", newer)
	d.get("lb2", Message{Kind: Release, Boot: "b2", Term: 5, Taken: 77})
	if d.m.free() {
		t.Error("the promise for term 9 has ended with the release of term 5")
	}
	d.get("lb2", Message{Kind: Release, Boot: "b2", Term: 9, Taken: 90})
	if !d.m.free() {
		t.Error("the promise for term 9 has not ended with its release")
	}
}

// Rule 38: suspect, claim, wait for what the record promises, own.
func TestClaiming(t *testing.T) {
	for _, tt := range []struct {
		name       string
		hold, wait time.Duration
		window     time.Duration
	}{
		{"a short promise", 250 * ms, 0, 350 * ms},
		{"a long promise", 2500 * ms, 0, 2600 * ms},
		{"a predecessor who may hold", 250 * ms, 600 * ms, 700 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := others()
			r.Hold, r.Wait = tt.hold, tt.wait
			d := at(t, r).hear(700 * ms)
			d.did = nil
			silent := d.now
			for len(d.asked("claim")) == 0 {
				d.pass(ms)
			}
			claimed := d.now
			if waited := claimed - silent; waited < 250*ms || waited > 400*ms {
				t.Errorf("claims %v after the owner fell silent", waited)
			}
			if c := d.asked("claim")[0]; c.RecordMod != 7 || c.ClaimMod != 0 || c.PutClaim.Record != 7 {
				t.Errorf("claims by %+v", c)
			}
			for len(d.asked("win")) == 0 {
				d.pass(ms)
			}
			if w := d.now - claimed; w < tt.window || w > tt.window+2*ms {
				t.Errorf("waits %v, want %v", w, tt.window)
			}
			w := d.asked("win")[0]
			if w.RecordMod != 7 || w.ClaimMod != d.asked("claim")[0].PutClaim.Record+3 || !w.DeleteClaim || w.PutRecord.Term != 6 {
				t.Errorf("wins by %+v, %+v", w, w.PutRecord)
			}
			if h := took[Hold](d); len(h) == 0 || h[0].Term != 6 {
				t.Errorf("holds %v", h)
			}
		})
	}
}

func TestAdverts(t *testing.T) {
	for _, tt := range []struct {
		name     string
		from     string
		priority uint8
		claims   bool // within 150 ms of the owner's last ping
	}{
		{"the owner resigns", "lb2", 0, true},
		{"another node resigns", "lb3", 0, false},
		{"a foreign router resigns", "", 0, false},
		{"the owner adverts", "lb2", 100, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, others()).hear(700 * ms)
			d.did = nil
			d.do(d.m.Heard(d.now, tt.from, tt.priority))
			d.pass(150 * ms)
			if got := len(d.asked("claim")) > 0; got != tt.claims {
				t.Errorf("claims: %v, want %v", got, tt.claims)
			}
		})
	}
}

func TestAdvertsAreSignsOfLife(t *testing.T) {
	d := at(t, others()).hear(700 * ms)
	d.did = nil
	for range 20 {
		d.do(d.m.Heard(d.now, "lb2", 100))
		d.pass(100 * ms)
	}
	if len(d.asked("claim")) > 0 {
		t.Error("claims from an owner whose adverts it hears")
	}
}

func TestReleaseAndOffer(t *testing.T) {
	release := Message{Kind: Release, Boot: "b2", Term: 5, Taken: 77}
	offer := Message{Kind: Offer, Boot: "b2", Term: 5}
	for _, tt := range []struct {
		name   string
		from   string
		msg    Message
		before func(d *desk)
		takes  bool
		holds  time.Duration // from then
	}{
		{"a release", "lb2", release, nil, true, 0},
		{"a release by another", "lb3", release, nil, false, 0},
		{"a release of an older term", "lb2", Message{Kind: Release, Boot: "b2", Term: 4, Taken: 70}, nil, false, 0},
		{"a release of the same term, taken otherwise", "lb2", Message{Kind: Release, Boot: "b2", Term: 5, Taken: 70}, nil, false, 0},
		{"a release of an earlier boot", "lb2", Message{Kind: Release, Boot: "b1", Term: 5, Taken: 77}, nil, false, 0},
		{"a release, and this node must not own", "lb2", release, func(d *desk) { d.do(d.m.Fit(d.now, Fitness{Fault: true})) }, false, 0},
		{"an offer", "lb2", offer, nil, true, 600 * ms},
		{"an offer by another", "lb3", offer, nil, false, 0},
		{"an offer of another term", "lb2", Message{Kind: Offer, Boot: "b2", Term: 4}, nil, false, 0},
		{"an offer, and this node leaves", "lb2", offer, func(d *desk) { d.do(d.m.Leave(d.now)) }, false, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, others()).hear(700 * ms)
			d.get("lb2", ping(uint64(d.now)))
			if tt.before != nil {
				tt.before(d)
			}
			d.did = nil
			start := d.now
			d.get(tt.from, tt.msg)
			if got := len(d.asked("take")) > 0; got != tt.takes {
				t.Fatalf("takes: %v, want %v", got, tt.takes)
			}
			for tt.takes && len(took[Hold](d)) == 0 && d.now < start+time.Second {
				d.pass(ms)
			}
			if got := d.now - start; got != tt.holds {
				t.Errorf("holds after %v, want %v", got, tt.holds)
			}
		})
	}
}

func TestOfferThenRelease(t *testing.T) {
	d := at(t, others()).hear(700 * ms)
	d.get("lb2", ping(uint64(d.now))).get("lb2", Message{Kind: Offer, Boot: "b2", Term: 5})
	d.pass(2 * ms)
	if len(took[Hold](d)) > 0 {
		t.Fatal("holds before the old owner has released")
	}
	if d.etcd.Record.Wait != 350*ms {
		t.Errorf("the record says that the old owner may hold for %v", d.etcd.Record.Wait)
	}
	d.get("lb2", Message{Kind: Release, Boot: "b2", Term: 5, Taken: 77})
	if len(took[Hold](d)) == 0 {
		t.Error("does not hold at once after the release")
	}
	if d.etcd.Record.Wait != 0 {
		t.Error("the record still says that somebody else may hold")
	}
}

// Rule 38: what is unknown is read before anything else.
func TestUnknownOutcomes(t *testing.T) {
	for _, tt := range []struct {
		name      string
		what      string
		committed bool
		owns      bool
	}{
		{"a claim that is lost", "claim", false, false},
		{"a claim that counts", "claim", true, false},
		{"a win that is lost", "win", false, false},
		{"a win that counts", "win", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := at(t, others()).hear(700 * ms)
			d.did = nil
			for len(d.asked(tt.what)) == 0 {
				d.dark = tt.what == "claim" || len(d.asked("claim")) > 0
				d.pass(ms)
			}
			r := d.asked(tt.what)[0]
			if tt.committed {
				d.commit(r)
			}
			d.waiting, d.did = nil, nil
			d.do(d.m.Answer(d.now, r.ID, Reply{Err: errNobody}))
			d.pass(400 * ms)
			if n := len(d.asked("claim")) + len(d.asked("win")) + len(d.asked("take")); n > 0 {
				t.Errorf("attempts something anew before it knows: %v", d.order())
			}
			d.dark = false
			d.hear(200 * ms)
			if got := d.m.Status(d.now).Owns; got != tt.owns {
				t.Errorf("owns: %v, want %v; %v", got, tt.owns, d.order())
			}
		})
	}
}

// An answer that comes late says nothing against a newer one.
func TestAnswersOutOfOrder(t *testing.T) {
	d := at(t, own()).owns()
	old := d.etcd
	d.dark = true
	d.pass(100 * ms)
	for len(d.waiting) == 0 {
		d.pass(10 * ms)
	}
	late := d.waiting[0]
	d.etcd.Revision++
	d.etcd.Record = Record{Owner: "lb2", Boot: "b2", Term: 7, Mod: d.etcd.Revision}
	d.do(d.m.Watched(d.now, d.etcd))
	d.do(d.m.Answer(d.now, late.ID, Reply{Snapshot: old}))
	if st := d.m.Status(d.now); st.Owns || st.Owner != "lb2" {
		t.Errorf("believes %+v", st)
	}
}
