package dial

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Names opens connections to hosts whose names it resolves itself, so that an
// answer serves for a while, and the last one holds when no name server answers
// (rule 16). Its methods may be called by any goroutine.
type Names struct {
	// TTL says how long an answer is good; 0 asks each time.
	TTL func() time.Duration
	// Changed is told a name that leads elsewhere than before. May be nil.
	Changed func(host string)
	// Dial opens the connections, to numeric addresses and Unix sockets; nil means a
	// plain net.Dialer.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	lookup func(ctx context.Context, host string) ([]string, error) // nil means the system's resolver

	mu    sync.Mutex
	known map[string]resolved // guarded by mu
}

// resolved is the last answer about a name.
type resolved struct {
	addresses []string
	until     time.Time
}

// Host is a name, where it leads, and for how long that is taken for granted.
type Host struct {
	Name      string
	Addresses []string
	TTL       time.Duration // 0 when it is asked anew
}

// Hosts lists the names in use, in their order.
func (n *Names) Hosts() []Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	var all []Host
	for name, r := range n.known {
		all = append(all, Host{Name: name, Addresses: slices.Clone(r.addresses), TTL: max(0, r.until.Sub(now))})
	}
	slices.SortFunc(all, func(a, b Host) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// DialContext is for Config.DialFunc.
func (n *Names) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	open := n.Dial
	if open == nil {
		open = (&net.Dialer{KeepAlive: -1}).DialContext // Config sets the options
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil || network == "unix" {
		return open(ctx, network, address)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return open(ctx, network, address)
	}
	addresses, err := n.resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	var failures error
	for i, a := range addresses {
		conn, err := dialOne(ctx, open, network, net.JoinHostPort(a, port), len(addresses)-i)
		if err == nil {
			return conn, nil
		}
		failures = errors.Join(failures, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, failures
}

// dialOne leaves time for the addresses that have not been tried yet.
func dialOne(
	ctx context.Context, open func(context.Context, string, string) (net.Conn, error), network, address string, left int,
) (net.Conn, error) {
	if deadline, ok := ctx.Deadline(); ok && left > 1 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(left))
		defer cancel()
	}
	return open(ctx, network, address)
}

// resolve gives the addresses of a name.
func (n *Names) resolve(ctx context.Context, host string) ([]string, error) {
	n.mu.Lock()
	last, known := n.known[host]
	n.mu.Unlock()
	now := time.Now()
	if known && now.Before(last.until) {
		return last.addresses, nil
	}
	lookup := n.lookup
	if lookup == nil {
		lookup = net.DefaultResolver.LookupHost
	}
	addresses, err := lookup(ctx, host)
	switch {
	case err == nil && len(addresses) > 0:
	case known:
		// Better an address that was right than none; it is asked again soon.
		return last.addresses, nil
	default:
		return nil, cmp.Or(err, error(&net.DNSError{Err: "no address", Name: host, IsNotFound: true}))
	}
	n.learn(host, addresses, now)
	return addresses, nil
}

func (n *Names) learn(host string, addresses []string, now time.Time) {
	n.mu.Lock()
	last, known := n.known[host]
	if n.known == nil {
		n.known = make(map[string]resolved)
	}
	n.known[host] = resolved{addresses: addresses, until: now.Add(n.TTL())}
	n.mu.Unlock()
	if known && n.Changed != nil && !sameAddresses(last.addresses, addresses) {
		n.Changed(host)
	}
}

// sameAddresses compares without regard to the order, which name servers turn.
func sameAddresses(a, b []string) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	return slices.Equal(a, b)
}
