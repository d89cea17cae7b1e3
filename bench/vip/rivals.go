package vip

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ethernet"
	"github.com/mdlayher/packet"
)

// rivals are others who lay hands on the address: 33 and 34.
func rivals() []Scenario {
	return []Scenario{
		{Number: 33, Case: "address-removed", Fault: removeAddress, Limits: limits{gap: readded + 2*probePace}},
		{
			Number: 34, Case: "foreign-host", Fault: foreignHost, Hold: 3 * time.Second, Undo: foreignGone,
			Limits: limits{breaks: -1}, Check: rivalSeen,
		},
	}
}

// removals is how many times the address is removed.
const removals = 5

// removeAddress removes the address by hand, over and over.
func removeAddress(ctx context.Context, run *run) error {
	var worst time.Duration
	for range removals {
		before := time.Now()
		if _, err := run.owner.Run(ctx, "ip", "addr", "del", VIP4.String()+"/32", "dev", lanIface); err != nil {
			return err
		}
		back, err := run.awaitBack(ctx, before)
		if err != nil {
			return err
		}
		worst = max(worst, back)
		if err := pause(ctx, 300*time.Millisecond); err != nil {
			return err
		}
	}
	run.note("readded_ms", worst)
	if worst > readded {
		run.fall("the address was back after %d ms, at most %d", worst.Milliseconds(), readded.Milliseconds())
	}
	if n := len(run.observer.Seen(run.fault).only(run.owner.MAC.String()).announced); n < removals {
		run.fall("%d announcements for %d removals", n, removals)
	}
	return nil
}

// awaitBack waits for the address to go after a moment and to come back, and gives
// how long it was away.
func (run *run) awaitBack(ctx context.Context, since time.Time) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	for {
		all := run.owner.watch.Spans()
		if n := len(all); n > 1 && all[n-2].to.After(since) && all[n-1].from.After(since) {
			return all[n-1].from.Sub(all[n-2].to), nil
		}
		if pause(ctx, 2*time.Millisecond) != nil {
			return 0, errors.New("the address did not come back within 3 s")
		}
	}
}

// foreignHost gives the address to a host that has nothing to do with us, which
// announces it.
func foreignHost(ctx context.Context, run *run) error {
	run.later(func() { _ = foreignGone(context.Background(), run) }) // it has gone in most cases
	if _, err := run.stranger.Run(ctx, "ip", "addr", "add", VIP4.String()+"/32", "dev", lanIface); err != nil {
		return err
	}
	return run.stranger.Do(func() error { return announce(run.stranger.MAC) })
}

func foreignGone(ctx context.Context, run *run) error {
	_, err := run.stranger.Run(ctx, "ip", "addr", "flush", "dev", lanIface, "to", VIP4.String())
	return err
}

// announce sends one gratuitous ARP from the host of the caller.
func announce(mac net.HardwareAddr) error {
	iface, err := net.InterfaceByName(lanIface)
	if err != nil {
		return err
	}
	conn, err := packet.Listen(iface, packet.Raw, int(ethernet.EtherTypeARP), nil)
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := arp.NewPacket(arp.OperationRequest, mac, VIP4, ethernet.Broadcast, VIP4)
	if err != nil {
		return err
	}
	frame, err := arpFrame(mac, ethernet.Broadcast, p)
	if err != nil {
		return err
	}
	_, err = conn.WriteTo(frame, &packet.Addr{HardwareAddr: ethernet.Broadcast})
	return err
}

// rivalSeen wants an alarm with the rival's MAC, and the address announced again.
func rivalSeen(_ context.Context, run *run, r *Result) {
	said := run.owner.said(run.stranger.MAC.String())
	r.more("alarms", len(said))
	if len(said) == 0 {
		r.fall("%s said nothing of %s", run.owner.Name, run.stranger.MAC)
	}
	again := run.observer.Seen(run.fault).only(run.owner.MAC.String()).announced
	if len(again) == 0 || again[0].at.Sub(run.fault) > time.Second {
		r.fall("%s did not announce the address again within 1 s", run.owner.Name)
	}
	r.more("announced", len(again))
}
