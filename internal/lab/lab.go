package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"
)

// maxNodes is the most that a cluster may have.
const maxNodes = 3

// Options say what a cluster consists of. The zero value is one node and one
// etcd member.
type Options struct {
	// Nodes is the number of Patroni nodes, 1 to 3; 0 means 1.
	Nodes int
	// EtcdMembers is 1 or 3; 0 means 1. Member n lives on node n's address.
	EtcdMembers int
	// Scope is Patroni's name of the cluster; empty means "lab".
	Scope string
	// Namespace is the first part of Patroni's keys in etcd; empty means "/service/".
	Namespace string

	// DCS is merged into Patroni's dynamic configuration over the lab's ttl 20,
	// loop_wait 2, retry_timeout 3 (seconds, the least that Patroni takes but
	// for loop_wait): "failsafe_mode", "synchronous_mode", ...
	DCS map[string]any
	// Tags are Patroni's tags by node name: {"n3": {"noloadbalance": true}}.
	Tags map[string]map[string]any
	// Parameters are added to postgresql.conf of all nodes.
	Parameters map[string]string
	// HBA lines come before the lab's own in pg_hba.conf.
	HBA []string
	// TLS makes the servers offer TLS, with a certificate for their addresses
	// from the authority in CAFile.
	TLS bool
	// EtcdLinks makes each Patroni reach etcd through relays of its own, so that
	// Node.CutEtcd can cut off one alone.
	EtcdLinks bool
	// PromotionHook gives PostgreSQL a pre_promote script, by which HoldPromotion
	// keeps a new leader from its promotion.
	PromotionHook bool

	// Log, when it is not nil, gets a line for each step of the start.
	Log io.Writer
}

func (o Options) withDefaults() (Options, error) {
	o.Nodes, o.EtcdMembers = max(o.Nodes, 1), max(o.EtcdMembers, 1)
	if o.Nodes > maxNodes {
		return o, fmt.Errorf("lab: %d nodes, at most %d", o.Nodes, maxNodes)
	}
	if o.EtcdMembers != 1 && o.EtcdMembers != 3 {
		return o, fmt.Errorf("lab: %d etcd members, want 1 or 3", o.EtcdMembers)
	}
	if o.Scope == "" {
		o.Scope = "lab"
	}
	if o.Namespace == "" {
		o.Namespace = "/service/"
	}
	if o.Log == nil {
		o.Log = io.Discard
	}
	return o, nil
}

// Cluster is a running Patroni cluster. Its methods may be called by any
// goroutine.
type Cluster struct {
	// Immutable after Start.

	// Scope and Namespace are Patroni's; its keys in etcd begin with both.
	Scope, Namespace string
	// Nodes are in order of their names: n1, n2, n3. The leader after Start is n1.
	Nodes []*Node
	// Etcd are the members: etcd1, etcd2, etcd3.
	Etcd []*Process

	// CAFile is the certificate authority of the servers, empty without TLS.
	CAFile string

	opt        Options
	slot       *slot
	parameters map[string]string // of postgresql.conf

	mu    sync.Mutex
	links []*Link // guarded by mu; closed by Stop
}

// Node is one Patroni with its PostgreSQL.
type Node struct {
	// Name is Patroni's name of the member: "n1".
	Name string
	// Postgres is the server. Patroni starts it again when it is killed.
	Postgres *Postgres
	// Patroni is the agent. PostgreSQL outlives its SIGKILL; SIGTERM stops both.
	Patroni *Process
	// RESTAddr is where Patroni's REST API listens: "127.64.0.1:8008".
	RESTAddr string

	// Immutable after Start.
	cluster *Cluster
	conf    string  // Patroni's configuration file
	links   []*Link // its ways to etcd, with Options.EtcdLinks

	// Guarded by mu.
	mu   sync.Mutex
	tags map[string]any
}

// Start starts a cluster and waits until n1 leads it and all others stream from
// n1. The caller calls Stop; if the caller dies before, all is stopped too.
func Start(ctx context.Context, opt Options) (*Cluster, error) {
	opt, err := opt.withDefaults()
	if err != nil {
		return nil, err
	}
	if err := CheckInstalled(); err != nil {
		return nil, err
	}
	s, err := takeSlot(ctx)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Scope: opt.Scope, Namespace: opt.Namespace, opt: opt, slot: s}
	if err := c.start(ctx); err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

func (c *Cluster) start(ctx context.Context) error {
	if err := c.describe(); err != nil {
		return err
	}
	if err := startAll(ctx, c.Etcd); err != nil {
		return err
	}
	fmt.Fprintf(c.opt.Log, "etcd: %d member(s) on %s\n", len(c.Etcd), c.EtcdEndpoints()[0])

	// The first node bootstraps alone, so that it leads; the others then find a
	// leader to copy at once, instead of in their second loop.
	first, others := c.Nodes[0], c.Nodes[1:]
	if err := first.Patroni.Start(ctx); err != nil {
		return err
	}
	if err := first.waitRole(ctx, "primary"); err != nil {
		return err
	}
	fmt.Fprintf(c.opt.Log, "%s: leader, PostgreSQL on %s\n", first.Name, first.Postgres.Addr)
	if err := startAll(ctx, agents(others)); err != nil {
		return err
	}
	if err := c.WaitReady(ctx); err != nil {
		return err
	}
	for _, n := range others {
		fmt.Fprintf(c.opt.Log, "%s: replica, PostgreSQL on %s\n", n.Name, n.Postgres.Addr)
	}
	return nil
}

// describe makes the parts and their configuration, and starts nothing.
func (c *Cluster) describe() error {
	c.parameters = baseParameters(c.opt.Parameters)
	if c.opt.TLS {
		_, ca, parameters, err := c.slot.enableTLS()
		if err != nil {
			return err
		}
		c.CAFile = ca
		maps.Copy(c.parameters, parameters)
	}
	for n := range c.opt.EtcdMembers {
		c.Etcd = append(c.Etcd, c.etcd(n+1))
	}
	for n := range c.opt.Nodes {
		node, err := c.node(n + 1)
		if err != nil {
			return err
		}
		c.Nodes = append(c.Nodes, node)
	}
	return nil
}

// Stop kills everything that belongs to the cluster, removes its files and gives
// its addresses back.
func (c *Cluster) Stop() error {
	err := c.slot.release()
	for _, p := range append(agents(c.Nodes), c.Etcd...) {
		p.reaped()
	}
	c.closeLinks()
	return err
}

// Node returns the node with a name, nil when there is none.
func (c *Cluster) Node(name string) *Node {
	for _, n := range c.Nodes {
		if n.Name == name {
			return n
		}
	}
	return nil
}

// Host is an address of the cluster's slot that belongs to no node, for the
// test's own listeners: "127.64.0.100" for n = 0, and so on.
func (c *Cluster) Host(n int) string { return c.slot.host(100 + n) }

// Dir is a directory that goes with the cluster.
func (c *Cluster) Dir() string { return c.slot.dir }

func agents(nodes []*Node) []*Process {
	var all []*Process
	for _, n := range nodes {
		all = append(all, n.Patroni)
	}
	return all
}

// startAll starts parts side by side and waits until all work.
func startAll(ctx context.Context, parts []*Process) error {
	var wg sync.WaitGroup
	errs := make([]error, len(parts))
	for i, p := range parts {
		wg.Go(func() { errs[i] = p.Start(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
