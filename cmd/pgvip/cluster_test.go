package main

import (
	"bytes"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/cluster"
	"github.com/pgvip/pgvip/config"
)

// TestConfigHash: it differs where nodes would treat clients differently, and not
// where each has its own.
func TestConfigHash(t *testing.T) {
	base := config.Default()
	base.Databases["app"] = config.Database{PoolSize: config.Some(5), Password: config.NewSecret("one")}
	same := configHash(base)
	for name, change := range map[string]func(*config.Config){
		"address":  func(c *config.Config) { c.Cluster.Address = config.Address{Host: "10.0.0.9", Port: 7946} },
		"peer_id":  func(c *config.Config) { c.PeerID = 9 },
		"priority": func(c *config.Config) { c.VIP.Priority = 7 },
		"log":      func(c *config.Config) { c.Log.Level = "debug" },
		"nothing":  func(*config.Config) {},
	} {
		c := *base
		change(&c)
		if configHash(&c) != same {
			t.Errorf("%s changes the hash", name)
		}
	}
	for name, change := range map[string]func(*config.Config){
		"pool size": func(c *config.Config) { c.DefaultPoolSize++ },
		"database":  func(c *config.Config) { c.Databases = map[string]config.Database{"app": {PoolSize: config.Some(6)}} },
		"user":      func(c *config.Config) { c.Users = map[string]config.User{"app": {}} },
	} {
		c := *base
		change(&c)
		if configHash(&c) == same {
			t.Errorf("%s does not change the hash", name)
		}
	}
}

// TestClusterKeysAreReloaded: a node follows a new key while it runs, and a node that
// has only that one is let in.
func TestClusterKeysAreReloaded(t *testing.T) {
	t.Parallel()
	const old, next = "MDEyMzQ1Njc4OWFiY2RlZg==", "ZmVkY2JhOTg3NjU0MzIxMA=="
	self, other := freeAddress(t), freeAddress(t)
	section := func(keys string) string {
		return "peer_id: 1\ncluster: {name: lb1, address: \"" + self + "\", keys: " + keys + ", peers: {lb2: {address: \"" + other + "\"}}}\n"
	}
	l := writeLonely(t, section(old))
	c := startChild(t, l.file, "")
	c.says("pgvip is serving")
	seen := make(chan cluster.Event, 16)
	peer, err := cluster.New(cluster.Options{
		Name: "lb2", Scope: "/service/demo", Boot: "test", PeerID: 2, Address: other, Keys: [][]byte{[]byte("fedcba9876543210")},
		Peers: []cluster.Peer{{Name: "lb1", Address: self}}, Event: func(e cluster.Event) { seen <- e },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer peer.Close()
	await := func(kind cluster.EventKind) {
		t.Helper()
		for {
			select {
			case e := <-seen:
				if e.Kind == kind {
					return
				}
			case <-time.After(childLimit):
				t.Fatalf("never %s", kind)
			}
		}
	}
	await(cluster.PeerRefused)
	text, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	text = bytes.Replace(text, []byte(old), []byte(`"`+next+" "+old+`"`), 1)
	if err := os.WriteFile(l.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGHUP)
	c.says("cluster: peer is here")
	await(cluster.PeerJoined)
	for _, key := range []string{old, next} {
		if strings.Contains(c.printed(), key) {
			t.Error("a key stands in the log")
		}
	}
	c.signal(syscall.SIGTERM)
	await(cluster.PeerLeft)
	c.ends(0)
}
