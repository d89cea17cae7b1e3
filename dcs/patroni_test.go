package dcs

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pgvip/pgvip/route"
)

// fakePatroni answers for all hosts of a cluster. A page that is missing is
// silence.
type fakePatroni struct {
	mu    sync.Mutex
	pages map[string]string // by URL: "status body"
	asked map[string]int
}

func (f *fakePatroni) get(ctx context.Context, url string) (int, []byte, error) {
	f.mu.Lock()
	page, ok := f.pages[url]
	f.asked[url]++
	f.mu.Unlock()
	if !ok {
		<-ctx.Done()
		return 0, nil, ctx.Err()
	}
	var status int
	code, body, _ := strings.Cut(page, " ")
	if _, err := fmt.Sscan(code, &status); err != nil {
		return 0, nil, errors.New("refused")
	}
	return status, []byte(body), nil
}

func (f *fakePatroni) set(url, page string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if page == "" {
		delete(f.pages, url)
		return
	}
	f.pages[url] = page
}

// everywhere sets a page of all hosts.
func (f *fakePatroni) everywhere(path, page string) {
	for _, host := range []string{"http://pg1:8008", "http://pg2:8008"} {
		f.set(host+path, page)
	}
}

// clusterPage is /cluster of Patroni 3.0.2 with this leader.
func clusterPage(leader string) string {
	var members []string
	for _, name := range []string{"pg1", "pg2"} {
		role := "replica"
		if name == leader {
			role = "leader"
		}
		members = append(members, fmt.Sprintf(`{"name":%q,"role":%q,"state":"running","api_url":"http://%s:8008/patroni","host":%q,"port":5432,"timeline":2,"lag":0}`,
			name, role, name, name))
	}
	return `200 {"members":[` + strings.Join(members, ",") + `]}`
}

const nodePage = ` {"state":"running","database_system_identifier":"7301","patroni":{"version":"3.0.2","scope":"demo"}}`

// runPatroni runs a source on pg1, the leader, and pg2 in synctest's time. last
// gives the youngest snapshot after all that was due has happened.
func runPatroni(t *testing.T) (f *fakePatroni, after func(time.Duration) Snapshot) {
	t.Helper()
	f = &fakePatroni{pages: map[string]string{}, asked: map[string]int{}}
	f.everywhere("/cluster", clusterPage("pg1"))
	f.everywhere("/config", `200 {"ttl":30,"failsafe_mode":true}`)
	f.everywhere("/history", `200 [[1,100,"no recovery target specified","t","pg1"]]`)
	f.everywhere("/primary", "503"+nodePage)
	f.set("http://pg1:8008/primary", "200"+nodePage)
	p, err := NewPatroni(PatroniConfig{
		Hosts: []string{"http://pg1:8008", "http://pg2:8008"}, Scope: "demo", Interval: 500 * time.Millisecond, Get: f.get,
	})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var last Snapshot
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		p.Run(ctx, func(s Snapshot) {
			mu.Lock()
			defer mu.Unlock()
			if s.Topology.Revision < last.Topology.Revision || s.At.Before(last.At) {
				t.Errorf("went back from revision %d of %v to %d of %v", last.Topology.Revision, last.At, s.Topology.Revision, s.At)
			}
			last = s
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f, func(d time.Duration) Snapshot {
		time.Sleep(d)
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		return last
	}
}

// TestPatroni: each row changes what the nodes say and looks a little later.
func TestPatroni(t *testing.T) {
	rows := []struct {
		name   string
		change func(*fakePatroni)
		after  time.Duration
		leader string
		fresh  route.Freshness
	}{
		{"nothing", func(*fakePatroni) {}, time.Second, "pg1", route.Fresh},
		{"switched over", func(f *fakePatroni) {
			f.everywhere("/cluster", clusterPage("pg2"))
			f.set("http://pg1:8008/primary", "503"+nodePage)
			f.set("http://pg2:8008/primary", "200"+nodePage)
		}, 500 * time.Millisecond, "pg2", route.Fresh},
		{"the new one says so first", func(f *fakePatroni) {
			f.everywhere("/cluster", "")
			f.set("http://pg1:8008/primary", "503"+nodePage)
			f.set("http://pg2:8008/primary", "200"+nodePage)
		}, time.Second, "pg2", route.Fresh},
		{"no leader", func(f *fakePatroni) {
			f.everywhere("/cluster", clusterPage(""))
			f.set("http://pg1:8008/primary", "503"+nodePage)
		}, time.Second, "", route.Fresh},
		{"no leader, and one that has not noticed", func(f *fakePatroni) { f.everywhere("/cluster", clusterPage("")) }, time.Second, "", route.Fresh},
		{"an orphan: its Patroni is gone, its key is not", func(f *fakePatroni) {
			f.set("http://pg1:8008/primary", "x")
			f.set("http://pg1:8008/cluster", "x")
			f.set("http://pg1:8008/config", "x")
			f.set("http://pg1:8008/history", "x")
		}, 3 * time.Second, "pg1", route.Fresh},
		{"the first host hangs", func(f *fakePatroni) {
			for _, path := range []string{"/cluster", "/primary", "/config", "/history"} {
				f.set("http://pg1:8008"+path, "")
			}
		}, 10 * time.Second, "pg1", route.Fresh},
		{"nobody reads etcd", func(f *fakePatroni) { f.everywhere("/cluster", "503 {}") }, 5 * time.Second, "pg1", route.Fresh},
		{"nobody reads etcd, two primaries", func(f *fakePatroni) {
			f.everywhere("/cluster", "503 {}")
			f.everywhere("/primary", "200"+nodePage)
		}, 3 * time.Second, "pg1", route.Stale},
		{"silence", func(f *fakePatroni) {
			f.everywhere("/cluster", "")
			f.everywhere("/primary", "")
		}, 13 * time.Second, "pg1", route.Blind},
		{"another cluster", func(f *fakePatroni) {
			f.everywhere("/primary", `200 {"patroni":{"scope":"other"}}`)
			f.everywhere("/cluster", `200 {"scope":"other","members":[]}`)
		}, 13 * time.Second, "pg1", route.Blind},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, after := runPatroni(t)
				first := after(1100 * time.Millisecond)
				topo := first.Topology
				if topo.Kind != route.PatroniREST || topo.Leader != "pg1" || topo.SystemID != "7301" || !topo.Initialized ||
					topo.Timeline != 2 || !topo.Failsafe || len(topo.Members) != 2 || topo.Members[1].Addr != "pg2:5432" {
					t.Fatalf("first: %+v", first)
				}
				row.change(f)
				s := after(row.after)
				if got := route.FreshnessOf(time.Since(s.At)); s.Topology.Leader != row.leader || got != row.fresh {
					t.Errorf("leader %q, %v, want %q, %v; %+v", s.Topology.Leader, got, row.leader, row.fresh, s)
				}
				if moved := row.leader != "pg1"; moved != (s.Topology.LeaderRevision != topo.LeaderRevision) {
					t.Errorf("LeaderRevision from %d to %d", topo.LeaderRevision, s.Topology.LeaderRevision)
				}
				if row.fresh != route.Fresh && s.Err == nil {
					t.Error("old news without an error that says why")
				}
			})
		})
	}
}

// TestDecodeCluster: what Patroni 3 and 4 give, and what nobody should.
func TestDecodeCluster(t *testing.T) {
	topo, err := decodeCluster([]byte(`{"scope":"demo","pause":true,"members":[
		{"name":"b","role":"quorum_standby","state":"streaming","api_url":"https://b:8008/patroni","host":"fd00::b","port":6432,"timeline":7,"tags":{"noloadbalance":true},"lag":0},
		{"name":"a","role":"standby_leader","state":"running","host":"a","lag":"unknown"},
		{"name":"c","role":"replica","state":"in archive recovery","host":"bad host","port":"x"},
		{"role":"replica"}],
		"scheduled_switchover":{"at":"2030-01-01T00:00:00+00:00","from":"a","to":"b"}}`), "demo")
	if err != nil {
		t.Fatal(err)
	}
	if topo.Leader != "a" || !topo.Standby || !topo.Paused || len(topo.Members) != 3 {
		t.Errorf("topology %+v", topo)
	}
	b := topo.Member("b")
	if b.Addr != "[fd00::b]:6432" || b.APIURL != "https://b:8008" || !b.Running() || !b.Standby() || !b.NoLoadBalance || b.Replication != "streaming" || b.Timeline != 7 {
		t.Errorf("b %+v", b)
	}
	if a, c := topo.Member("a"), topo.Member("c"); a.Addr != "a:5432" || c.Addr != "" || !c.Running() {
		t.Errorf("a %+v, c %+v", a, c)
	}
	if f := topo.Failover; f == nil || f.Candidate != "b" || f.ScheduledAt.Year() != 2030 {
		t.Errorf("scheduled %+v", f)
	}
	for _, body := range []string{``, `[]`, `{}`, `{"scope":"other","members":[]}`} {
		if _, err := decodeCluster([]byte(body), "demo"); err == nil {
			t.Errorf("%s gave no error", body)
		}
	}
}

// FuzzDecodeCluster: whatever a host sends, it never panics, and no member has an
// address that a dialer would misread.
func FuzzDecodeCluster(f *testing.F) {
	f.Add([]byte(strings.TrimPrefix(clusterPage("pg1"), "200 ")))
	f.Add([]byte(`{"members":[{"name":"a","tags":{"x":1},"host":"::1","port":99999}],"scheduled_switchover":{"at":1}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		topo, err := decodeCluster(body, "demo")
		for _, m := range topo.Members {
			if m.Name == "" || m.Addr != "" && strings.ContainsAny(m.Addr, " /@,") {
				t.Errorf("member %+v, error %v", m, err)
			}
		}
		var w word
		_ = w.read(body, "demo")
	})
}
