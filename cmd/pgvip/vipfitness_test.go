package main

import (
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/config"
)

func TestPressureIsMoreThanABurst(t *testing.T) {
	began := time.Now()
	type look struct {
		after time.Duration
		count uint64
		want  bool
	}
	for _, tt := range []struct {
		name  string
		looks []look
	}{
		{"nothing", []look{{0, 0, false}, {time.Hour, 0, false}}},
		{"a burst", []look{{0, 50, false}, {time.Second, 90, false}, {5 * time.Second, 90, false}, {6 * time.Second, 91, false}}},
		{"for a while", []look{{0, 1, false}, {time.Second, 2, false}, {2 * time.Second, 3, false}, {3 * time.Second, 4, true}}},
		{"over when calm", []look{
			{0, 1, false}, {2 * time.Second, 2, false}, {4 * time.Second, 3, true}, {9 * time.Second, 3, true}, {13 * time.Second, 4, true},
			{22 * time.Second, 4, true}, {23 * time.Second, 4, false}, {24 * time.Second, 5, false}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var p pressure
			for _, l := range tt.looks {
				if got := p.high(began.Add(l.after), l.count); got != l.want {
					t.Errorf("after %s, %d turned away: %t, want %t", l.after, l.count, got, l.want)
				}
			}
		})
	}
}

func TestKeeperConfig(t *testing.T) {
	t.Setenv("PGVIP_PROBE_PASSWORD", "x")
	t.Setenv("PGVIP_CLUSTER_KEYS", "MDEyMzQ1Njc4OWFiY2RlZg==")
	c, err := config.Load("../../configs/pgvip.vip.yaml")
	if err != nil {
		t.Fatal(err)
	}
	k, err := keeperConfig(c, "boot")
	if err != nil {
		t.Fatal(err)
	}
	if k.Node != "lb1" || k.Boot != "boot" || k.Cluster != "postgres" || len(k.Keys) != 1 || len(k.Heartbeat) != 2 {
		t.Errorf("this node is %+v", k)
	}
	if len(k.Peers) != 1 || k.Peers[0].Name != "lb2" || k.Peers[0].Heartbeat[1].String() != "192.168.7.2:7947" {
		t.Errorf("peers are %+v", k.Peers)
	}
	if k.Etcd == nil || len(k.Etcd.Endpoints) != 3 || k.Etcd.TLS {
		t.Errorf("etcd is %+v", k.Etcd)
	}
	if v := k.VIP; v.Interface != "eth0" || v.Addresses[0].String() != "10.0.0.100/32" || v.VirtualRouterID != 51 ||
		v.Priority != 100 || v.Version != 3 || v.AdvertInt != 100*time.Millisecond || v.Checksum != "pseudo-header" {
		t.Errorf("the virtual IP is %+v", v)
	}
	c.Cluster.Name = ""
	c.Cluster.Peers[hostName()] = config.Peer{}
	if _, err := keeperConfig(c, "boot"); err == nil || !strings.Contains(err.Error(), "cluster.name") {
		t.Errorf("a peer of this host's name: %v", err)
	}
}
