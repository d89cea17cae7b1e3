package keeper

import (
	"time"

	"github.com/pgvip/pgvip/vrrp/address"
)

// happened takes what happened on the interface.
func (k *Keeper) happened(now time.Duration, e address.Event) {
	switch e.Kind {
	case address.LinkChanged:
		k.linkChanged(now, e)
	case address.Removed:
		k.address.removed()
	case address.Appeared:
		k.appeared(e)
	case address.Claimed:
		k.claimed(e)
	case address.Probed:
		k.election.probed(now, e)
	case address.Failed:
		k.rarely(now, "failed", "error", "%v", e.Err)
	}
}

func (k *Keeper) linkChanged(now time.Duration, e address.Event) {
	if k.gone == 0 {
		k.fit(now)
	}
	if e.Link.Up && k.address.on && k.address.refresh() {
		k.port.Announce() // the switch may have forgotten, or the MAC is another one
	}
}

// appeared removes an address that somebody has added while it is not ours.
func (k *Keeper) appeared(e address.Event) {
	if k.address.on || k.found {
		return
	}
	gone := k.address.release()
	k.rarely(sinceBoot(), "appeared", "conflict", "%s appeared on %s, which does not own it; removed: %t", e.Address, k.cfg.VIP.Interface, gone)
}

// claimed answers somebody who claims an address that is here.
func (k *Keeper) claimed(e address.Event) {
	if !k.address.on {
		return // its owner announces it
	}
	k.rivals++
	k.port.Rival()
	k.rarely(sinceBoot(), "claimed "+e.MAC.String(), "conflict", "%s claims %s, which is here; announced again", e.MAC, e.Address)
}
