package lab

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// One cluster for all that can be done to it in turn: a start takes seconds.
func TestCluster(t *testing.T) {
	t.Parallel()
	began := time.Now()
	c := StartT(t, Options{
		Nodes: 3, EtcdMembers: 3, EtcdLinks: true, PromotionHook: true, Log: t.Output(),
		DCS:  map[string]any{"failsafe_mode": true},
		Tags: map[string]map[string]any{"n3": {"noloadbalance": true}},
	})
	// Ten seconds on two cores of its own; the other packages' tests run beside it.
	if took := time.Since(began); took > time.Minute {
		t.Errorf("three nodes were up in %v, want less than a minute", took)
	} else {
		t.Logf("three nodes were up in %v", took)
	}
	for _, step := range []struct {
		name string
		test func(*testing.T, *Cluster)
	}{
		{"the first node leads", firstLeads},
		{"the options are Patroni's", optionsReach},
		{"tags are set", tagsAreSet},
		{"switchover", switchover},
		{"a promotion is held up", heldPromotion},
		{"killed PostgreSQL comes back", killedPostgres},
		{"frozen node thaws", frozenNode},
		{"killed node rejoins", killedNode},
		{"etcd restarts", etcdRestarts},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, c) }) {
			break // the next step starts from a whole cluster
		}
	}
}

func firstLeads(t *testing.T, c *Cluster) {
	leader, err := c.Leader(t.Context())
	if err != nil || leader.Name != "n1" {
		t.Fatalf("leader is %v, %v, want n1", leader, err)
	}
	if _, err := leader.Postgres.SQL(t.Context(), AppDatabase, "CREATE TABLE notes(text text)"); err != nil {
		t.Error(err)
	}
	verifier, err := leader.Postgres.Verifier(t.Context(), AppUser)
	if err != nil || !strings.HasPrefix(verifier, "SCRAM-SHA-256$4096:") {
		t.Errorf("verifier of %s is %q, %v", AppUser, verifier, err)
	}
}

func optionsReach(t *testing.T, c *Cluster) {
	if err := c.Configure(t.Context(), map[string]any{"loop_wait": 1, "failsafe_mode": nil}); err != nil {
		t.Fatal(err)
	}
	// Patroni answers from its copy of the keys, which hears of the change in its time.
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := poll(ctx, statePace, func(ctx context.Context) error {
		_, config, err := c.Nodes[0].rest(ctx, http.MethodGet, "/config", "")
		if _, there := config["failsafe_mode"]; err == nil && (there || config["ttl"] != 20.0 || config["loop_wait"] != 1.0) {
			err = fmt.Errorf("configuration is %v, want ttl 20, loop_wait 1 and no failsafe_mode", config)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	_, n3, err := c.Node("n3").rest(t.Context(), http.MethodGet, "/patroni", "")
	if tags, ok := n3["tags"].(map[string]any); err != nil || !ok || tags["noloadbalance"] != true {
		t.Errorf("tags of n3 are %v, %v", n3["tags"], err)
	}
}

func switchover(t *testing.T, c *Cluster) {
	if err := c.Switchover(t.Context(), "n2"); err != nil {
		t.Fatal(err)
	}
	if leader, err := c.Leader(t.Context()); err != nil || leader.Name != "n2" {
		t.Errorf("leader is %v, %v, want n2", leader, err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

func tagsAreSet(t *testing.T, c *Cluster) {
	node := c.Node("n3")
	if err := node.SetTags(t.Context(), map[string]any{"nosync": true}); err != nil {
		t.Fatal(err)
	}
	err := poll(t.Context(), statePace, func(ctx context.Context) error {
		_, state, err := node.rest(ctx, http.MethodGet, "/patroni", "")
		tags, _ := state["tags"].(map[string]any)
		if err == nil && (tags["nosync"] != true || tags["noloadbalance"] == true) {
			err = fmt.Errorf("tags are %v", state["tags"])
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

// heldPromotion: the new leader stays in recovery until it is let go.
func heldPromotion(t *testing.T, c *Cluster) {
	if err := c.HoldPromotion(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- c.Switchover(t.Context(), "n1") }()
	if err := c.Node("n1").waitRole(t.Context(), "primary"); err != nil { // Patroni's word for the key
		t.Error(err)
	}
	if recovery, err := c.Node("n1").Postgres.SQL(t.Context(), "postgres", "SELECT pg_is_in_recovery()"); err != nil || recovery != "t" {
		t.Errorf("in recovery: %q, %v, want t", recovery, err)
	}
	if err := errors.Join(c.ReleasePromotion(), <-done, c.WaitReady(t.Context())); err != nil {
		t.Error(err)
	}
}

func killedPostgres(t *testing.T, c *Cluster) {
	pg := c.Node("n3").Postgres
	before := tree(pg.PID())
	if err := pg.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, pid := range before {
		if living(pid) {
			t.Errorf("process %d of the killed server lives", pid)
		}
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

func frozenNode(t *testing.T, c *Cluster) {
	node := c.Node("n3")
	if err := node.Freeze(); err != nil {
		t.Fatal(err)
	}
	all := append(tree(node.Patroni.PID()), tree(node.Postgres.PID())...)
	for _, pid := range all {
		if s, _ := readStat(pid); s.state != 'T' {
			t.Errorf("process %d of the frozen node is in state %c, want T", pid, s.state)
		}
	}
	if len(all) < 4 {
		t.Errorf("the frozen node has processes %v: too few", all)
	}
	if err := node.Thaw(); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

func killedNode(t *testing.T, c *Cluster) {
	node := c.Node("n1")
	if err := node.Crash(); err != nil {
		t.Fatal(err)
	}
	if node.Patroni.Running() || node.Postgres.Running() {
		t.Error("the killed node runs")
	}
	// Patroni did not say goodbye, so etcd has the member until its lease ends.
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}

func etcdRestarts(t *testing.T, c *Cluster) {
	for _, member := range c.Etcd {
		if err := member.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.WaitReady(t.Context()); err != nil {
		t.Error(err)
	}
}
