package cluster

import (
	"bytes"
	"encoding/json"
	"maps"
	"net/netip"
	"testing"

	"github.com/hashicorp/memberlist"
)

// FuzzFlows: no message breaks anything, and what is understood means the same
// when it is written again.
func FuzzFlows(f *testing.F) {
	f.Add(flowDelta{seq: 7, opened: []Flow{flow(1), flow(5)}, closed: []Flow{flow(2)}}.append(nil))
	f.Add(flowImage{seq: 9, flows: []Flow{flow(1), flow(5), flow(10)}}.append(nil))
	f.Add([]byte{1, 200, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := parseFlowDelta(&decoder{b: b}); err == nil {
			again, err := parseFlowDelta(&decoder{b: v.append(nil)})
			if err != nil || again.seq != v.seq || !maps.Equal(flowSet(again.opened), flowSet(v.opened)) || !maps.Equal(flowSet(again.closed), flowSet(v.closed)) {
				t.Fatalf("%v became %v, %v", v, again, err)
			}
		}
		if v, err := parseFlowImage(&decoder{b: b}); err == nil {
			again, err := parseFlowImage(&decoder{b: v.append(nil)})
			if err != nil || again.seq != v.seq || !maps.Equal(flowSet(again.flows), flowSet(v.flows)) {
				t.Fatalf("%v became %v, %v", v, again, err)
			}
		}
	})
}

// FuzzHeader: the same of what begins every message.
func FuzzHeader(f *testing.F) {
	f.Add(header{kind: kindReport, from: "lb1", boot: "b"}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := &decoder{b: b}
		h, err := parseHeader(d)
		if err != nil {
			return
		}
		e := &decoder{b: h.append(nil)}
		if again, err := parseHeader(e); err != nil || again != h || len(e.b) != 0 {
			t.Fatalf("%v became %v, %v", h, again, err)
		}
	})
}

// FuzzCancel: the same of cancel requests and their answers.
func FuzzCancel(f *testing.F) {
	f.Add(cancelCall{id: 3, CancelRequest: CancelRequest{ProcessID: 7, Secret: []byte("abcd"), From: netip.MustParseAddr("10.0.0.1")}}.append(nil))
	f.Add(cancelAnswer{id: 3, right: true}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, err := parseCancelCall(&decoder{b: b}); err == nil {
			again, err := parseCancelCall(&decoder{b: v.append(nil)})
			if err != nil || again.id != v.id || again.From != v.From || again.ProcessID != v.ProcessID || !bytes.Equal(again.Secret, v.Secret) {
				t.Fatalf("%v became %v, %v", v, again, err)
			}
		}
		if v, err := parseCancelAnswer(&decoder{b: b}); err == nil {
			if again, err := parseCancelAnswer(&decoder{b: v.append(nil)}); err != nil || again != v {
				t.Fatalf("%v became %v, %v", v, again, err)
			}
		}
	})
}

// FuzzReport: what another node says of itself is bounded.
func FuzzReport(f *testing.F) {
	f.Add(report{Seq: 3, Version: "1", PeerID: 4, Status: Status{Counters: map[string]uint64{"clients": 3}}}.append(nil))
	m := meta{Seq: 3, Boot: "b", VIP: VIP{State: "ACTIVE"}}
	f.Add(m.encode(memberlist.MetaMaxSize))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := parseReport(b); err == nil {
			if len(r.Version) > maxVersion || len(r.Counters) > MaxCounters || !validPeer(r.PeerID) {
				t.Fatalf("%+v", r)
			}
			first := r.append(nil)
			again, err := parseReport(first)
			if len(first) <= maxReport && (err != nil || !bytes.Equal(again.append(nil), first)) {
				t.Fatalf("%+v became %+v, %v", r, again, err)
			}
		}
		if m, err := parseMeta(b); err == nil {
			if text := m.encode(memberlist.MetaMaxSize); len(text) > memberlist.MetaMaxSize {
				t.Fatalf("%d bytes of metadata", len(text))
			} else if text != nil && !json.Valid(text) {
				t.Fatalf("%q", text)
			}
		}
	})
}

// FuzzReceive: a whole node takes whatever a peer with the key sends.
func FuzzReceive(f *testing.F) {
	l := newLAN(f, "lb1", "lb2")
	a := l.run("lb1")
	for k := range byte(16) {
		f.Add(header{kind: kind(k), from: "lb2", boot: "b"}.append(nil))
		f.Add(append(header{kind: kind(k), from: "lb2", boot: "b"}.append(nil), 1, 1, 4, 10, 0, 0, 1, 19, 136, 0, 0))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a.receive(b)
		a.View()
		a.FlowsOf("lb2")
	})
}
