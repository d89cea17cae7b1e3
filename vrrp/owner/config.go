package owner

import (
	"errors"
	"fmt"
	"slices"
	"time"
)

// Config is fixed for a machine's life. Zero times take the defaults of rules 37-44.
// All nodes of a cluster must use the same times.
type Config struct {
	Node     string // name of this node
	Boot     string // of its main process: new with each start
	Priority int    // 1..254: decides among equally fit nodes
	Peers    []string

	Preempt      bool // a higher priority takes the address from an equally fit owner
	PreemptDelay time.Duration

	// Resume says that this keeper replaces another of the same main process and
	// that the address is still on the interface.
	Resume bool
	// Promised and PromisedTerm are the latest Persist that an earlier machine of
	// this node has stored in this boot of the host, 0 for none. A runtime that cannot
	// store it says so with now + Alone + Margin, which costs each start that time.
	Promised     time.Duration
	PromisedTerm int64

	// ARP is etcd_down_takeover: without etcd for anybody, a silent owner that no
	// longer answers ARP is taken for dead, and a sole survivor goes on. Otherwise
	// an outage sees only takeovers to which all peers agree.
	ARP bool

	Beat    time.Duration // between pings: 100ms
	Silence time.Duration // of an owner that makes a backup claim: 300ms
	Grant   time.Duration // what an acknowledgement is worth: 500ms
	Margin  time.Duration // for drift of clocks and lateness: 100ms
	Hold    time.Duration // what a confirming read is worth: 250ms
	Silent  time.Duration // the same while a peer is silent: 1.2s
	Alone   time.Duration // the same while a peer is dead, and a grant when nobody has etcd: 2.5s

	Quiet        time.Duration // after which a peer is silent: 600ms
	Dead         time.Duration // after which it is dead, if it does not claim either: 2s
	EtcdStale    time.Duration // without an answer of etcd it is taken for out of reach: 700ms
	Timeout      time.Duration // of a request; then its outcome is unknown: 500ms
	Backoff      time.Duration // after a claim that came to nothing: 700ms
	Gap          time.Duration // in this machine's own clock, after which it validates: 200ms
	ResumeWait   time.Duration // for the owner key after Resume: 150ms
	StartupDelay time.Duration // after which Status.Ready waits for no election any more: 10s
	FitDelay     time.Duration // of a peer being fitter before the address moves to it: 1s
	MoveWait     time.Duration // for a planned move, before a node that must go just goes: 1s
}

func (c Config) withDefaults() Config {
	for _, d := range []struct {
		to    *time.Duration
		value time.Duration
	}{
		{&c.Beat, 100 * time.Millisecond},
		{&c.Silence, 300 * time.Millisecond},
		{&c.Grant, 500 * time.Millisecond},
		{&c.Margin, 100 * time.Millisecond},
		{&c.Hold, 250 * time.Millisecond},
		{&c.Silent, 1200 * time.Millisecond},
		{&c.Alone, 2500 * time.Millisecond},
		{&c.Quiet, 600 * time.Millisecond},
		{&c.Dead, 2 * time.Second},
		{&c.EtcdStale, 700 * time.Millisecond},
		{&c.Timeout, 500 * time.Millisecond},
		{&c.Backoff, 700 * time.Millisecond},
		{&c.Gap, 200 * time.Millisecond},
		{&c.ResumeWait, 150 * time.Millisecond},
		{&c.StartupDelay, 10 * time.Second},
		{&c.FitDelay, time.Second},
		{&c.MoveWait, time.Second},
	} {
		if *d.to == 0 {
			*d.to = d.value
		}
	}
	return c
}

// validate returns every fault.
func (c Config) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Node == "", "node: has no name")
	fault(c.Boot == "", "boot: is empty")
	fault(c.Priority < 1 || c.Priority > 254, "priority: must be 1 to 254, is %d", c.Priority)
	fault(slices.Contains(c.Peers, c.Node), "peers: %q is this node", c.Node)
	fault(len(slices.Compact(slices.Sorted(slices.Values(c.Peers)))) != len(c.Peers), "peers: a name occurs twice")
	fault(c.Margin < 0 || c.Hold <= 0 || c.Beat <= 0, "times: must be positive")
	fault(c.Hold > c.Silent || c.Silent > c.Alone || c.Grant > c.Alone, "times: hold <= silent <= alone and grant <= alone must hold")
	return errors.Join(faults...)
}
