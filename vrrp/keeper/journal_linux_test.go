package keeper

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

func TestJournalIsBounded(t *testing.T) {
	var k Keeper
	for i := range maxEvents + 10 {
		k.event("error", true, "%d %s", i, strings.Repeat("x", 2*maxText))
	}
	if n := len(k.log.events); n != maxEvents || k.log.dropped != 10 {
		t.Errorf("%d events wait, %d were dropped", n, k.log.dropped)
	}
	if first := k.log.events[0].Text; !strings.HasPrefix(first, "10 ") {
		t.Errorf("the oldest is %.10s, not the oldest that has room", first)
	}
	// What waits fits a packet, whatever is in it.
	packet, err := json.Marshal(beat.FromKeeper{Events: k.log.next(sinceBoot())})
	if err != nil || len(packet) > beat.MaxPacket {
		t.Errorf("a packet of %d bytes, %v", len(packet), err)
	}
}

func TestRepeatsAreCounted(t *testing.T) {
	var k Keeper
	for _, at := range []time.Duration{0, time.Second, 59 * time.Second, 61 * time.Second, 62 * time.Second} {
		k.rarely(at, "rival", "conflict", "a rival")
		k.rarely(at, "other", "conflict", "another")
	}
	want := []string{"a rival", "another", "a rival (2 more in the last minute)", "another (2 more in the last minute)"}
	var got []string
	for _, e := range k.log.events {
		got = append(got, e.Text)
	}
	if strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("events %q, want %q", got, want)
	}
	for i := range 3 * maxEvents {
		k.rarely(0, string(rune('a'+i)), "conflict", "made up")
	}
	if n := len(k.log.often); n > maxEvents {
		t.Errorf("%d things are remembered", n)
	}
}
