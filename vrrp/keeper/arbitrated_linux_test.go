package keeper

import (
	"context"
	"net"
	"net/netip"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// etcd is a real one in the namespace of the bridges.
type etcd struct {
	lan *lan
	dir string
	cmd *exec.Cmd
}

func (l *lan) etcd() *etcd {
	l.t.Helper()
	lab.Require(l.t, lab.CheckInstalled)
	e := &etcd{lan: l, dir: l.t.TempDir()}
	l.t.Cleanup(e.stop)
	e.start()
	return e
}

func (e *etcd) start() {
	t := e.lan.t
	t.Helper()
	client, peer := "http://"+etcdAddr+":2379", "http://127.0.0.1:2380"
	e.cmd = exec.Command("ip", "netns", "exec", e.lan.name, "etcd", "--name", "e1", "--data-dir", e.dir,
		"--listen-client-urls", client, "--advertise-client-urls", client, "--listen-peer-urls", peer,
		"--initial-advertise-peer-urls", peer, "--initial-cluster", "e1="+peer, "--logger", "zap", "--log-level", "error")
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := e.cmd.Start(); err != nil {
		t.Fatal(err)
	}
}

func (e *etcd) stop() {
	if e.cmd != nil {
		_ = e.cmd.Process.Kill() // gone already is as good
		_ = e.cmd.Wait()         // it says "killed"
		e.cmd = nil
	}
}

// etcdConfig is config with etcd as the arbiter.
func etcdConfig(i, nodes int) *beat.Config {
	c := config(i, nodes)
	c.Etcd = &beat.Etcd{Endpoints: []string{net.JoinHostPort(etcdAddr, "2379")}}
	return c
}

// cluster is keepers with an arbiter on every node; the first owns the address.
type cluster struct {
	*sampler
	etcd   *etcd
	riders []*rider // from 0
}

// settled is longer than a grant and a margin.
const settled = 800 * time.Millisecond

func startCluster(t *testing.T, nodes int) *cluster {
	t.Helper()
	l := newLAN(t, nodes)
	c := &cluster{etcd: l.etcd(), sampler: l.watch()}
	for i, n := range l.nodes {
		c.riders = append(c.riders, n.start(etcdConfig(i+1, nodes)))
		c.owner(1)
	}
	for i, r := range c.riders {
		want := beat.Backup
		if i == 0 {
			want = beat.Active
		}
		r.until(string(want), func(s beat.Status) bool {
			return s.State == want && s.Owner == "lb1" && s.Arbiter == "etcd" && s.Ready && healthy(s, nodes-1)
		})
	}
	// What a node does not do for the time of a promise after its start is not what
	// these tests are about.
	time.Sleep(settled)
	return c
}

func healthy(s beat.Status, peers int) bool {
	n := 0
	for _, p := range s.Peers {
		if p.Healthy && p.Paths[0].Heard >= 0 {
			n++
		}
	}
	return n == peers
}

func (c *cluster) lan() *lan { return c.sampler.lan }

// still checks that the address stays on a node for a while, in which there is
// enough to happen for it to move.
func (c *cluster) still(n int, d time.Duration) {
	c.t.Helper()
	since := c.owner(n)
	time.Sleep(d)
	if now := c.owner(n); now != since {
		c.t.Errorf("the address left node %d meanwhile", n)
	}
}

func TestPeerTakesOverFromAKilledMain(t *testing.T) {
	c := startCluster(t, 2)
	died := time.Now()
	c.riders[0].signal(syscall.SIGKILL)
	gone, here := c.left(1, died), c.owner(2)
	c.riders[1].until("active", func(s beat.Status) bool { return s.State == beat.Active && s.Holds && s.Owner == "lb2" && s.Epoch > 1 })
	t.Logf("gone after %v, at the peer after %v", gone.Sub(died), here.Sub(died))
	c.never()
}

func TestPeerTakesOverFromAFrozenMain(t *testing.T) {
	c := startCluster(t, 2)
	stopped := time.Now()
	c.riders[0].signal(syscall.SIGSTOP)
	t.Logf("at the peer after %v", c.owner(2).Sub(stopped))
	c.riders[0].signal(syscall.SIGCONT)
	c.riders[0].exited()
	c.still(2, time.Second)
	c.never()
}

// TestPeerTakesOverFromASilentMachine cuts every wire of the owner at once: it
// cannot know more than that nobody confirms it, and gives up before the peer begins.
func TestPeerTakesOverFromASilentMachine(t *testing.T) {
	c := startCluster(t, 2)
	cut := time.Now()
	for b := range 2 {
		c.lan().nodes[0].unplug(b, true)
	}
	gone, here := c.left(1, cut), c.owner(2)
	t.Logf("gone after %v, at the peer after %v", gone.Sub(cut), here.Sub(cut))
	for b := range 2 {
		c.lan().nodes[0].unplug(b, false)
	}
	c.riders[0].until("backup", func(s beat.Status) bool { return s.State == beat.Backup && s.Owner == "lb2" })
	c.still(2, time.Second)
	c.never()
}

func TestLinkDownMovesTheAddress(t *testing.T) {
	c := startCluster(t, 2)
	cut := time.Now()
	c.lan().nodes[0].port(0, "down")
	c.riders[0].until("fault", is(beat.Fault))
	t.Logf("at the peer after %v", c.owner(2).Sub(cut))
	c.lan().nodes[0].port(0, "up")
	c.riders[0].until("backup", is(beat.Backup))
	c.still(2, time.Second)
	c.never()
}

func TestPlannedMovesLeaveNoGap(t *testing.T) {
	c := startCluster(t, 2)
	for i := range 4 {
		from, to := i%2+1, (i+1)%2+1
		asked := time.Now()
		c.riders[from-1].tell(beat.ToKeeper{Move: "*"})
		gone, here := c.left(from, asked), c.owner(to)
		t.Logf("move %d: asked %v before, nobody had the address for %v", i, gone.Sub(asked), here.Sub(gone))
		c.riders[from-1].until("backup", is(beat.Backup))
		c.riders[to-1].until("active", is(beat.Active))
	}
	c.never()
}

func TestLeaveHandsOver(t *testing.T) {
	c := startCluster(t, 2)
	asked := time.Now()
	c.riders[0].tell(beat.ToKeeper{Leave: true})
	gone, here := c.left(1, asked), c.owner(2)
	c.riders[0].until("left", func(s beat.Status) bool { return s.Left && !s.Holds })
	if exit := c.riders[0].exited(); exit != "<nil>" {
		t.Errorf("exit: %s", exit)
	}
	t.Logf("nobody had the address for %v", here.Sub(gone))
	// The last one leaves, to nobody.
	c.riders[1].tell(beat.ToKeeper{Leave: true})
	c.left(2, asked)
	if exit := c.riders[1].exited(); exit != "<nil>" {
		t.Errorf("exit: %s", exit)
	}
	c.never()
}

func TestUnfitOwnerMovesTheAddress(t *testing.T) {
	c := startCluster(t, 2)
	c.riders[0].tell(beat.ToKeeper{Fitness: &beat.Fitness{Listening: true, Healthy: 1}})
	c.owner(2)
	c.riders[0].until("backup", is(beat.Backup))
	c.never()
}

// TestNewKeeperGoesOn: of a keeper that was killed its successor takes over what
// is still its main process's, and the address never leaves.
func TestNewKeeperGoesOn(t *testing.T) {
	c := startCluster(t, 2)
	c.riders[0].signalKeeper(syscall.SIGKILL)
	again := c.lan().nodes[0].start(etcdConfig(1, 2)) // of the same boot
	again.until("active", is(beat.Active))
	c.still(1, 2*time.Second)
	// With another boot it is not: the main process that owned it has gone.
	again.signalKeeper(syscall.SIGKILL)
	cfg := etcdConfig(1, 2)
	cfg.Boot = "another"
	third := c.lan().nodes[0].start(cfg)
	third.until("an election", func(s beat.Status) bool { return s.Ready && s.Owner != "" })
	third.event("state", "removes the address")
	c.never()
}

func TestRemovedAddressComesBackWithArbiter(t *testing.T) {
	c := startCluster(t, 2)
	c.lan().in(c.lan().nodes[0].ns, "ip", "addr", "del", vip.String(), "dev", "eth0")
	c.riders[0].event("readded", "it is back")
	c.still(1, 500*time.Millisecond)
	c.never()
}

// TestPartitionsMoveNothing: neither the nodes' own network nor etcd is needed to
// keep the address where it is.
func TestPartitionsMoveNothing(t *testing.T) {
	c := startCluster(t, 2)
	c.lan().isolate(true)
	c.riders[1].until("silence", func(s beat.Status) bool { return healthy(s, 0) })
	c.still(1, 3*time.Second)
	c.lan().isolate(false)
	c.riders[1].until("the peer again", func(s beat.Status) bool { return healthy(s, 1) })

	c.etcd.stop()
	for _, r := range c.riders {
		r.until("outage", func(s beat.Status) bool { return s.Arbiter == "outage" })
	}
	c.still(1, 3*time.Second)
	c.etcd.start()
	for _, r := range c.riders {
		r.until("etcd again", func(s beat.Status) bool { return s.Arbiter == "etcd" })
	}
	c.still(1, time.Second)
	if got := c.riders[0].until("active", is(beat.Active)); got.Counters.BecameActive != 1 {
		t.Errorf("%+v", got)
	}
	c.never()
}

// TestReleaseMovesTheAddressInAnOutage: without etcd the peer goes by the word of
// the process that held the address.
func TestReleaseMovesTheAddressInAnOutage(t *testing.T) {
	c := startCluster(t, 2)
	c.etcd.stop()
	for _, r := range c.riders {
		r.until("outage", func(s beat.Status) bool { return s.Arbiter == "outage" })
	}
	died := time.Now()
	c.riders[0].signal(syscall.SIGKILL)
	t.Logf("at the peer after %v", c.owner(2).Sub(died))
	c.etcd.start()
	c.riders[1].until("etcd again", func(s beat.Status) bool { return s.Arbiter == "etcd" && s.State == beat.Active })
	c.still(2, time.Second)
	c.never()
}

func TestThreeNodesHaveOneOwner(t *testing.T) {
	l := newLAN(t, 3)
	c := &cluster{etcd: l.etcd(), sampler: l.watch()}
	for i, n := range l.nodes { // all at once
		c.riders = append(c.riders, n.start(etcdConfig(i+1, 3)))
	}
	owner := c.one()
	for range 2 {
		c.riders[owner-1].signal(syscall.SIGKILL)
		was := owner
		for owner == was || owner == 0 {
			owner = c.one()
		}
	}
	c.never()
}

// one waits for an owner and returns it.
func (c *cluster) one() int {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	for ctx.Err() == nil {
		c.mu.Lock()
		for i, since := range c.since {
			if !since.IsZero() {
				c.mu.Unlock()
				return i + 1
			}
		}
		c.mu.Unlock()
		time.Sleep(2 * time.Millisecond)
	}
	c.t.Fatal("nobody has the address")
	return 0
}

// TestForeignRouterIsTold: a keepalived of the same virtual router, say.
func TestForeignRouterIsTold(t *testing.T) {
	l := newLAN(t, 3)
	c := &cluster{etcd: l.etcd(), sampler: l.watch()}
	one := l.nodes[0].start(etcdConfig(1, 2))
	c.owner(1)
	foreign := config(3, 1)
	foreign.VIP.Addresses = []netip.Prefix{netip.MustParsePrefix("10.77.0.99/32")}
	foreign.VIP.StartupDelay, foreign.VIP.Priority = 0, 250
	foreign.VIP.Preempt = true
	l.nodes[2].start(foreign)
	one.event("conflict", "10.77.0.3 is no node of this cluster and speaks for virtual router 51")
	c.still(1, 500*time.Millisecond)
}
