package config

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// VIP is the virtual IP of this node and its peers: one election for all of
// Addresses. Names and meanings are keepalived's where it has the thing.
type VIP struct {
	Interface string
	// Addresses in order; empty without a virtual IP. The first one names the
	// election and chooses the family of the adverts. Bits of the host are kept.
	Addresses []netip.Prefix

	VirtualRouterID  int
	Priority         int
	Version          int // 2 or 3
	AdvertInt        time.Duration
	DownTimerAdverts int
	Preempt          bool
	PreemptDelay     time.Duration
	StartupDelay     time.Duration
	UnicastSource    netip.Addr // zero for the interface's own
	UnicastPeers     []netip.Addr
	Checksum         string // pseudo-header or rfc
	AuthPass         Secret // version 2 only

	// Arbiter is "auto", "etcd" or "none"; use Config.Arbiter.
	Arbiter          string
	EtcdDownTakeover string // arp or never

	GARPMasterDelay   time.Duration
	GARPMasterRepeat  int
	GARPMasterRefresh time.Duration // 0 is never

	// What is run when the state changes; nil for nothing. Notify gets
	// INSTANCE, the scope, the state and the priority as further arguments.
	NotifyMaster Command
	NotifyBackup Command
	NotifyFault  Command
	NotifyStop   Command
	Notify       Command
	// NotifyTimeout is when one that still runs is killed.
	NotifyTimeout time.Duration

	TrackScript map[string]TrackScript // by a name of the user's choice
}

// TrackScript is a check of this node that counts for the election.
type TrackScript struct {
	Script   Command
	Interval time.Duration
	Timeout  time.Duration
	Rise     int
	Fall     int
	// Weight is added to the priority while the script succeeds when it is above
	// 0, and while it fails when it is below; with 0 a failure leaves the election.
	Weight int
	// Reverse turns round what success and failure do.
	Reverse bool
	// InitFail has the script count as failed until it has succeeded.
	InitFail bool
}

// Command is a program with its arguments; no shell is involved.
type Command []string

// String gives the words with blanks between.
func (c Command) String() string { return strings.Join(c, " ") }

// Enabled reports whether there is a virtual IP.
func (v *VIP) Enabled() bool { return len(v.Addresses) > 0 }

// Has reports whether host:port is on a virtual address.
func (v *VIP) Has(address string) bool {
	a, err := netip.ParseAddrPort(address)
	return err == nil && slices.ContainsFunc(v.Addresses, func(p netip.Prefix) bool { return p.Addr() == a.Addr().Unmap() })
}

// The arbiters of the virtual IP's ownership.
const (
	ArbiterAuto = "auto"
	ArbiterEtcd = "etcd"
	ArbiterNone = "none"
)

// Arbiter says who decides about the virtual IP's owner: etcd where the cluster
// is followed there, unless the file says otherwise.
func (c *Config) Arbiter() string {
	switch {
	case c.VIP.Arbiter != ArbiterAuto:
		return c.VIP.Arbiter
	case c.Source == SourceEtcd:
		return ArbiterEtcd
	}
	return ArbiterNone
}

// The widths of fields on the wire: RFC 9568 section 5.2, RFC 3768 section 5.3.
const (
	mostRouterID   = 255
	mostPriority   = 254 // 255 is the owner of the address, which a virtual IP has not
	mostVIPs       = 20  // keepalived's bound as well
	mostDownTimer  = 100
	mostGARP       = 100
	mostWeightVRRP = 253
	mostAuthPass   = 8

	tickV3     = 10 * time.Millisecond
	longestV3  = 4095 * tickV3
	longestV2  = 255 * time.Second
	defaultV2  = time.Second
	mostDelay  = 1000 * time.Second // keepalived's, of preempt_delay
	longestNIC = 15                 // IFNAMSIZ without its NUL
)

func vipKeys() []setting[VIP] {
	return slices.Concat([]setting[VIP]{
		atStart(key("interface", "", interfaceName, func(v *VIP) *string { return &v.Interface })),
		atStart(list("addresses", "", vipAddress, func(v *VIP) *[]netip.Prefix { return &v.Addresses })),
		atStart(key("virtual_router_id", "51", count(1, mostRouterID), func(v *VIP) *int { return &v.VirtualRouterID })),
		key("priority", "100", count(1, mostPriority), func(v *VIP) *int { return &v.Priority }),
		key("version", "3", count(2, 3), func(v *VIP) *int { return &v.Version }),
		key("advert_int", "100ms", span(tickV3), func(v *VIP) *time.Duration { return &v.AdvertInt }),
		key("down_timer_adverts", "3", count(1, mostDownTimer), func(v *VIP) *int { return &v.DownTimerAdverts }),
		key("preempt", "false", flag, func(v *VIP) *bool { return &v.Preempt }),
		key("preempt_delay", "0s", spanUpTo(mostDelay), func(v *VIP) *time.Duration { return &v.PreemptDelay }),
		key("startup_delay", "10s", spanUpTo(mostDelay), func(v *VIP) *time.Duration { return &v.StartupDelay }),
		key("unicast_src_ip", "", hostAddress, func(v *VIP) *netip.Addr { return &v.UnicastSource }),
		list("unicast_peer", "", hostAddress, func(v *VIP) *[]netip.Addr { return &v.UnicastPeers }),
		key("checksum", "pseudo-header", oneOf("pseudo-header", "rfc"), func(v *VIP) *string { return &v.Checksum }),
	}, secret("auth_pass", func(v *VIP) *Secret { return &v.AuthPass }), arbiterKeys(), notifyKeys())
}

func arbiterKeys() []setting[VIP] {
	return []setting[VIP]{
		atStart(key("arbiter", ArbiterAuto, oneOf(ArbiterAuto, ArbiterEtcd, ArbiterNone), func(v *VIP) *string { return &v.Arbiter })),
		key("etcd_down_takeover", "arp", oneOf("arp", "never"), func(v *VIP) *string { return &v.EtcdDownTakeover }),
		key("garp_master_delay", "5s", spanUpTo(mostDelay), func(v *VIP) *time.Duration { return &v.GARPMasterDelay }),
		key("garp_master_repeat", "5", count(1, mostGARP), func(v *VIP) *int { return &v.GARPMasterRepeat }),
		key("garp_master_refresh", "60s", spanOrZero(time.Second), func(v *VIP) *time.Duration { return &v.GARPMasterRefresh }),
	}
}

func notifyKeys() []setting[VIP] {
	return []setting[VIP]{
		key("notify_master", "", command, func(v *VIP) *Command { return &v.NotifyMaster }),
		key("notify_backup", "", command, func(v *VIP) *Command { return &v.NotifyBackup }),
		key("notify_fault", "", command, func(v *VIP) *Command { return &v.NotifyFault }),
		key("notify_stop", "", command, func(v *VIP) *Command { return &v.NotifyStop }),
		key("notify", "", command, func(v *VIP) *Command { return &v.Notify }),
		key("notify_timeout", "30s", span(time.Millisecond), func(v *VIP) *time.Duration { return &v.NotifyTimeout }),
		table("track_script", trackKeys(), func(v *VIP) *map[string]TrackScript { return &v.TrackScript }),
	}
}

func trackKeys() []setting[TrackScript] {
	return []setting[TrackScript]{
		must(key("script", "", command, func(t *TrackScript) *Command { return &t.Script })),
		key("interval", "1s", span(time.Millisecond), func(t *TrackScript) *time.Duration { return &t.Interval }),
		key("timeout", "1s", span(time.Millisecond), func(t *TrackScript) *time.Duration { return &t.Timeout }),
		key("rise", "1", count(1, mostRise), func(t *TrackScript) *int { return &t.Rise }),
		key("fall", "1", count(1, mostRise), func(t *TrackScript) *int { return &t.Fall }),
		key("weight", "0", count(-mostWeightVRRP, mostWeightVRRP), func(t *TrackScript) *int { return &t.Weight }),
		key("reverse", "false", flag, func(t *TrackScript) *bool { return &t.Reverse }),
		key("init_fail", "false", flag, func(t *TrackScript) *bool { return &t.InitFail }),
	}
}
