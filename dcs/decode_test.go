package dcs

import (
	"net"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/route"
)

// patroni3 is a member key of Patroni 3.0.2, as captured.
const patroni3 = `{"conn_url":"postgres://10.79.0.1:5432/postgres","api_url":"http://10.79.0.1:8008/patroni","state":"running","role":"master","version":"3.0.2","tags":{"clonefrom":true,"zone":"z1"},"xlog_location":50331744,"timeline":1}`

func TestPrefixIsPatronis(t *testing.T) {
	rows := []struct{ namespace, scope, group, want string }{
		{"service", "demo", "", "/service/demo/"},
		{"/service/", "demo", "", "/service/demo/"},
		{"//a//b/", "/demo", "", "/a/b/demo/"},
		{"service", "demo", "0", "/service/demo/0/"},
		{"", "demo", "", "/demo/"},
	}
	for _, row := range rows {
		if got := Prefix(row.namespace, row.scope, row.group); got != row.want {
			t.Errorf("Prefix(%q, %q, %q) = %q, want %q", row.namespace, row.scope, row.group, got, row.want)
		}
	}
}

func TestDecodeMember(t *testing.T) {
	rows := []struct {
		name  string
		value string
		want  route.Member
		fault string
	}{
		{"Patroni 3", patroni3, route.Member{
			Addr: "10.79.0.1:5432", APIURL: "http://10.79.0.1:8008", State: "running", Role: "master", Version: "3.0.2",
			Tags: map[string]string{"clonefrom": "true", "zone": "z1"}, Location: 50331744, Timeline: 1,
		}, ""},
		{"Patroni 4.1", `{"conn_url":"postgres://pg2.example:6432/postgres","api_url":"https://pg2.example:8008/patroni",` +
			`"state":"running","role":"replica","version":"4.1.4","tags":{"noloadbalance":true,"priority":3},"xlog_location":7,` +
			`"receive_lsn":9,"replay_lsn":7,"replication_state":"streaming","timeline":12,"pending_restart_reason":{"x":{}}}`,
			route.Member{
				Addr: "pg2.example:6432", APIURL: "https://pg2.example:8008", State: "running", Role: "replica", Version: "4.1.4",
				Tags: map[string]string{"noloadbalance": "true", "priority": "3"}, NoLoadBalance: true,
				Location: 7, ReceiveLSN: 9, ReplayLSN: 7, Replication: "streaming", Timeline: 12,
			}, ""},
		{"IPv6", `{"conn_url":"postgres://[fd00::1]:5432/postgres","state":"running"}`,
			route.Member{Addr: "[fd00::1]:5432", State: "running"}, ""},
		{"no port", `{"conn_url":"postgres://pg1/postgres"}`, route.Member{Addr: "pg1:5432"}, ""},
		{"not the proxy", `{"conn_url":"postgres://pg1:5432/postgres","proxy_url":"postgres://pg1:6432/postgres"}`,
			route.Member{Addr: "pg1:5432"}, ""},
		{"old form", `postgres://pg1:5432/postgres?application_name=http://pg1:8008/patroni`,
			route.Member{Addr: "pg1:5432", APIURL: "http://pg1:8008"}, ""},
		{"paused", `{"conn_url":"postgres://a:1/","pause":true}`, route.Member{Addr: "a:1", Paused: true}, ""},
		{"tag as text", `{"conn_url":"postgres://a:1/","tags":{"noloadbalance":"on"}}`,
			route.Member{Addr: "a:1", NoLoadBalance: true, Tags: map[string]string{"noloadbalance": "on"}}, ""},
		{"one strange field", `{"conn_url":"postgres://a:1/","state":"running","timeline":"x","xlog_location":-3,"tags":[1]}`,
			route.Member{Addr: "a:1", State: "running"}, ""},
		{"no address", `{"state":"running","role":"replica"}`, route.Member{State: "running", Role: "replica"}, "conn_url"},
		{"other scheme", `{"conn_url":"mysql://a:1/"}`, route.Member{}, "conn_url"},
		{"no JSON", `{"conn_url":`, route.Member{}, "unexpected end"},
		{"empty", ``, route.Member{}, "unexpected end"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			topo, faults := Decode("/s/", []KV{{Key: "/s/members/pg1", Value: []byte(row.value)}})
			if len(topo.Members) != 1 {
				t.Fatalf("%d members, want 1: a member that cannot be read is kept by name", len(topo.Members))
			}
			row.want.Name = "pg1"
			if got := topo.Members[0]; !reflect.DeepEqual(got, row.want) {
				t.Errorf("got  %+v\nwant %+v", got, row.want)
			}
			checkFault(t, faults, row.fault)
		})
	}
}

func checkFault(t *testing.T, faults []Fault, want string) {
	t.Helper()
	switch {
	case want == "" && len(faults) > 0:
		t.Errorf("fault %v, want none", faults[0].Err)
	case want != "" && (len(faults) != 1 || !strings.Contains(faults[0].Err.Error(), want)):
		t.Errorf("faults %v, want one about %q", faults, want)
	}
}

func TestFaultHidesPassword(t *testing.T) {
	_, faults := Decode("/s/", []KV{{Key: "/s/members/pg1", Value: []byte(`{"conn_url":"postgres://u:geheim@%zz/"}`)}})
	if len(faults) != 1 || strings.Contains(faults[0].Err.Error(), "geheim") {
		t.Errorf("faults %v, want one without the password", faults)
	}
}

func TestDecodeKeys(t *testing.T) {
	later := time.Date(2026, 11, 23, 4, 0, 0, 0, time.UTC)
	rows := []struct {
		name  string
		key   string
		value string
		want  func(*route.Topology)
		fault string
	}{
		{"leader", "leader", "pg1", func(t *route.Topology) { t.Leader, t.LeaderRevision = "pg1", 7 }, ""},
		{"initialize", "initialize", "7301", func(t *route.Topology) { t.SystemID, t.Initialized = "7301", true }, ""},
		{"bootstrapping", "initialize", "", func(*route.Topology) {}, ""},
		{"config", "config", `{"ttl":30,"pause":false}`, func(t *route.Topology) { t.Configured = true }, ""},
		{"pause", "config", `{"pause":true}`, func(t *route.Topology) { t.Configured, t.Paused = true, true }, ""},
		{"pause as text", "config", `{"pause":"on"}`, func(t *route.Topology) { t.Configured, t.Paused = true, true }, ""},
		{"failsafe", "config", `{"failsafe_mode":true}`, func(t *route.Topology) { t.Configured, t.Failsafe = true, true }, ""},
		{"standby cluster", "config", `{"standby_cluster":{"host":"h","port":5432}}`,
			func(t *route.Topology) { t.Configured, t.Standby = true, true }, ""},
		{"no standby cluster", "config", `{"standby_cluster":{"host":null}}`, func(t *route.Topology) { t.Configured = true }, ""},
		{"null standby cluster", "config", `{"standby_cluster":null}`, func(t *route.Topology) { t.Configured = true }, ""},
		{"bad config", "config", `[`, func(t *route.Topology) { t.Configured = true }, "config"},
		{"history", "history", `[[1,50332040,"no recovery target specified","2026-11-22T21:59:34.656082+00:00","pg2"],[2,50332320,"x"]]`,
			func(t *route.Topology) { t.Timeline = 3 }, ""},
		{"no history", "history", `[]`, func(*route.Topology) {}, ""},
		{"bad history", "history", `[["x"]]`, func(*route.Topology) {}, "timeline"},
		{"empty entry", "history", `[[]]`, func(*route.Topology) {}, "empty"},
		{"last timeline", "history", `[[4294967295]]`, func(*route.Topology) {}, "range"},
		{"failover", "failover", `{"leader":"pg1","member":"pg2"}`,
			func(t *route.Topology) { t.Failover = &route.FailoverRequest{Leader: "pg1", Candidate: "pg2"} }, ""},
		{"failover to anyone", "failover", `{"leader":"pg1"}`,
			func(t *route.Topology) { t.Failover = &route.FailoverRequest{Leader: "pg1"} }, ""},
		{"scheduled", "failover", `{"leader":"pg1","member":null,"scheduled_at":"2026-11-23T04:00:00+00:00"}`,
			func(t *route.Topology) { t.Failover = &route.FailoverRequest{Leader: "pg1", ScheduledAt: later} }, ""},
		{"cleared", "failover", `{}`, func(*route.Topology) {}, ""},
		{"old form", "failover", `pg1:pg2`,
			func(t *route.Topology) { t.Failover = &route.FailoverRequest{Leader: "pg1", Candidate: "pg2"} }, ""},
		{"unreadable time", "failover", `{"leader":"pg1","scheduled_at":"tomorrow"}`, func(*route.Topology) {}, "scheduled_at"},
		{"failsafe peers", "failsafe", `{"pg1":"http://pg1:8008/patroni"}`,
			func(t *route.Topology) { t.FailsafePeers = map[string]string{"pg1": "http://pg1:8008/patroni"} }, ""},
		{"unknown", "sync", `{"leader":null}`, func(*route.Topology) {}, ""},
		{"status", "status", `{"optime":1}`, func(*route.Topology) {}, ""},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			topo, faults := Decode("/s/", []KV{{Key: "/s/" + row.key, Value: []byte(row.value), ModRevision: 7}})
			want := route.Topology{Timeline: 1}
			row.want(&want)
			if topo.Failover != nil && !topo.Failover.ScheduledAt.IsZero() {
				topo.Failover.ScheduledAt = topo.Failover.ScheduledAt.UTC()
			}
			if !reflect.DeepEqual(topo, want) {
				t.Errorf("got  %+v\nwant %+v", topo, want)
			}
			checkFault(t, faults, row.fault)
		})
	}
}

// FuzzDecode: whatever the store holds, Decode does not panic, gives members in
// order and once each, and addresses that a dialer can take apart.
func FuzzDecode(f *testing.F) {
	f.Add("members/pg1", []byte(patroni3), "config", []byte(`{"pause":true}`))
	f.Add("members/pg1", []byte(`postgres://a:1/?application_name=http://a:2/`), "members/pg0", []byte(`{"conn_url":"postgres://[::1]/"}`))
	f.Add("history", []byte(`[[1,2,"x"]]`), "failover", []byte(`a:b`))
	f.Add("leader", []byte("pg1"), "failsafe", []byte(`{"a":"b"}`))
	f.Add("config", []byte(`{"standby_cluster":{"port":0}}`), "failover", []byte(`{"leader":"a","scheduled_at":"2026-11-23T04:00:00+00:00"}`))
	f.Fuzz(func(t *testing.T, key1 string, value1 []byte, key2 string, value2 []byte) {
		topo, faults := Decode("/s/", []KV{{Key: "/s/" + key1, Value: value1}, {Key: "/s/" + key2, Value: value2}})
		if len(faults) > 2 || len(topo.Members) > 2 {
			t.Errorf("two keys gave %d faults and %d members", len(faults), len(topo.Members))
		}
		if topo.Timeline == 0 {
			t.Error("timeline 0")
		}
		if topo.Initialized != (topo.SystemID != "") {
			t.Errorf("initialized %v with system identifier %q", topo.Initialized, topo.SystemID)
		}
		var names []string
		for _, m := range topo.Members {
			names = append(names, m.Name)
			if m.Addr == "" {
				continue
			}
			if host, port, err := net.SplitHostPort(m.Addr); err != nil || host == "" || port == "" {
				t.Errorf("address %q: %v", m.Addr, err)
			}
		}
		if !slices.IsSorted(names) || len(slices.Compact(slices.Clone(names))) != len(names) {
			t.Errorf("members %q", names)
		}
	})
}
