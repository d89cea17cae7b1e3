//go:build !linux

package address

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/pgvip/pgvip/vrrp/beat"
)

// Port exists on Linux only.
type Port struct{}

// Open fails.
func Open(Options) (*Port, error) {
	return nil, fmt.Errorf("the virtual address: %w", errors.ErrUnsupported)
}

// Close does nothing, like all that follows.
func (*Port) Close() error { return nil }

// Events is nil.
func (*Port) Events() <-chan Event { return nil }

// Adverts is nil.
func (*Port) Adverts() <-chan Packet { return nil }

// Hold fails.
func (*Port) Hold() error { return errors.ErrUnsupported }

// Release fails.
func (*Port) Release() error { return errors.ErrUnsupported }

// Present fails.
func (*Port) Present() (bool, error) { return false, errors.ErrUnsupported }

// Link is zero.
func (*Port) Link() Link { return Link{} }

// Source is not valid.
func (*Port) Source() netip.Addr { return netip.Addr{} }

// Destinations is nil.
func (*Port) Destinations() []netip.Addr { return nil }

// SendAdvert fails.
func (*Port) SendAdvert(netip.Addr, []byte) error { return errors.ErrUnsupported }

// Announce does nothing.
func (*Port) Announce() {}

// Rival does nothing.
func (*Port) Rival() {}

// Quiet does nothing.
func (*Port) Quiet() {}

// Probe does nothing.
func (*Port) Probe() int { return 0 }

// Tickle does nothing.
func (*Port) Tickle([]beat.Flow) {}

// Counters is zero.
func (*Port) Counters() Counters { return Counters{} }

// Allow does nothing.
func (*Port) Allow(time.Duration) {}

// Clear fails.
func Clear(string, []netip.Prefix) error { return errors.ErrUnsupported }
