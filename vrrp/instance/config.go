package instance

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Config is fixed for a machine's life. Names are keepalived's.
type Config struct {
	Version  int   // 2 or 3
	Priority uint8 // 1..254; 255 for the router whose own addresses they are
	// Source is the primary address, which decides among equal priorities. SetSource
	// changes it.
	Source netip.Addr

	AdvertInt        time.Duration // between own adverts
	DownTimerAdverts int           // adverts missed until the Active router is taken for dead; 0 means 3

	// Preempt takes over from an Active router of lower priority, PreemptDelay after
	// it was first heard.
	Preempt      bool
	PreemptDelay time.Duration
	// StartupDelay bounds how long a router that has heard nobody since Start
	// leaves it at that: a port of a switch may only forward after some seconds.
	StartupDelay time.Duration
}

// validate returns every fault.
func (c Config) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Version != 2 && c.Version != 3, "version: must be 2 or 3, is %d", c.Version)
	fault(c.Priority == 0, "priority: must be 1 to 255, is 0")
	fault(c.AdvertInt <= 0, "advert_int: must be above 0, is %s", c.AdvertInt)
	fault(c.DownTimerAdverts < 0 || c.DownTimerAdverts > 100, "down_timer_adverts: must be 1 to 100, is %d", c.DownTimerAdverts)
	fault(c.PreemptDelay < 0, "preempt_delay: must not be negative, is %s", c.PreemptDelay)
	fault(c.StartupDelay < 0, "startup_delay: must not be negative, is %s", c.StartupDelay)
	return errors.Join(faults...)
}
