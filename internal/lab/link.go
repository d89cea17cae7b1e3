package lab

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Link is a relay in front of an address of the lab. What reaches another part
// through a link can be cut off from it while all others still reach it. Its
// methods may be called by any goroutine.
type Link struct {
	// Immutable after newLink.

	// Addr is where the link listens; Target is what it leads to.
	Addr, Target string

	running sync.WaitGroup

	// Guarded by mu.
	mu       sync.Mutex
	listener net.Listener // nil while the link is cut
	conns    map[net.Conn]bool
}

func newLink(addr, target string) (*Link, error) {
	l := &Link{Addr: addr, Target: target, conns: map[net.Conn]bool{}}
	return l, l.Restore()
}

// Cut closes all connections and refuses new ones, until Restore.
func (l *Link) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		l.listener.Close()
		l.listener = nil
	}
	for c := range l.conns {
		c.Close()
	}
}

// Restore lets a cut link lead to its target again.
func (l *Link) Restore() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil {
		return nil
	}
	listener, err := net.Listen("tcp", l.Addr)
	if err != nil {
		return fmt.Errorf("lab: link to %s: %w", l.Target, err)
	}
	l.listener = listener
	l.running.Go(func() { l.accept(listener) })
	return nil
}

// close cuts the link and waits for its goroutines.
func (l *Link) close() {
	l.Cut()
	l.running.Wait()
}

// accept ends when its listener is closed.
func (l *Link) accept(listener net.Listener) {
	for {
		from, err := listener.Accept()
		if err != nil {
			return
		}
		l.running.Go(func() { l.relay(listener, from) })
	}
}

// relay serves one connection until either side closes it or the link is cut.
func (l *Link) relay(listener net.Listener, from net.Conn) {
	defer from.Close()
	to, err := net.Dial("tcp", l.Target)
	if err != nil {
		return
	}
	defer to.Close()
	if !l.enter(listener, from, to) {
		return
	}
	defer l.leave(from, to)
	var there sync.WaitGroup
	there.Go(func() { pour(to, from) })
	pour(from, to)
	there.Wait()
}

// pour copies what one side sends; when it has no more, the other is closed.
func pour(to, from net.Conn) {
	io.Copy(to, from) // an error is an end like any other
	to.Close()
}

// enter notes a connection, unless the link was cut after it had been accepted.
func (l *Link) enter(listener net.Listener, conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != listener {
		return false
	}
	for _, c := range conns {
		l.conns[c] = true
	}
	return true
}

func (l *Link) leave(conns ...net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		delete(l.conns, c)
	}
}

// Link makes a relay to a target on a spare port of the cluster's slot. It goes
// with the cluster.
func (c *Cluster) Link(target string) (*Link, error) {
	c.mu.Lock()
	n := len(c.links)
	c.mu.Unlock()
	return c.link(c.Host(maxLinkHost), firstLinkPort+n, target)
}

const (
	// maxLinkHost is the spare address of links that no node owns.
	maxLinkHost = 99

	firstLinkPort = 23790
)

func (c *Cluster) link(host string, port int, target string) (*Link, error) {
	l, err := newLink(net.JoinHostPort(host, fmt.Sprint(port)), target)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	c.links = append(c.links, l)
	c.mu.Unlock()
	return l, nil
}

func (c *Cluster) closeLinks() {
	c.mu.Lock()
	links := c.links
	c.mu.Unlock()
	for _, l := range links {
		l.close()
	}
}

// linkEtcd makes the links by which a node's Patroni reaches etcd.
func (c *Cluster) linkEtcd(node *Node, n int) error {
	for m, target := range c.EtcdEndpoints() {
		l, err := c.link(c.slot.host(n), firstLinkPort+m, target)
		if err != nil {
			return err
		}
		node.links = append(node.links, l)
	}
	return nil
}

// CutEtcd cuts the node's Patroni off from all members of etcd, which others go
// on reaching. It needs Options.EtcdLinks.
func (n *Node) CutEtcd() error {
	if len(n.links) == 0 {
		return errors.New("lab: the cluster has no links to etcd")
	}
	for _, l := range n.links {
		l.Cut()
	}
	return nil
}

// RestoreEtcd undoes CutEtcd.
func (n *Node) RestoreEtcd() error {
	var errs []error
	for _, l := range n.links {
		errs = append(errs, l.Restore())
	}
	return errors.Join(errs...)
}
