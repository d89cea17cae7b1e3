package main

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pgvip/pgvip/route"
)

// TestControlAsksInFailsafe: rule 23 to the edge. From the deletion to the fence,
// or to going on, no more than what Patroni needs to answer, and 80 ms at most.
func TestControlAsksInFailsafe(t *testing.T) {
	type reply struct {
		after  time.Duration
		answer route.RESTAnswer
	}
	yes := route.RESTAnswer{Code: 200, Primary: true, Failsafe: true}
	for _, row := range []struct {
		name    string
		replies []reply // the last one again and again
		look    time.Duration
		want    string
		asked   int32
	}{
		{"yes", []reply{{30 * time.Millisecond, yes}}, 30 * time.Millisecond, "epoch 1, primary pg1", 1},
		{"waiting", []reply{{30 * time.Millisecond, yes}}, 29 * time.Millisecond, "epoch 1, primary none, candidate pg1", 1},
		{"no", []reply{{30 * time.Millisecond, route.RESTAnswer{Code: 503}}}, 30 * time.Millisecond, "epoch 2, primary none", 1},
		{"silence", []reply{{time.Hour, yes}}, 80 * time.Millisecond, "epoch 2, primary none", 1},
		{"yes, again", []reply{{0, yes}}, 3500 * time.Millisecond, "epoch 1, primary pg1", 4},
		{"yes, then no", []reply{{0, yes}, {0, route.RESTAnswer{Code: 503}}}, time.Second, "epoch 2, primary none", 2},
		{"yes, then silence", []reply{{0, yes}, {time.Hour, yes}}, 3 * time.Second, "epoch 2, primary none", -1},
	} {
		t.Run(row.name, func(t *testing.T) {
			var asked atomic.Int32
			playWith(t, func(c *control) {
				c.questions.ask = func(ctx context.Context, url string) route.RESTAnswer {
					n := int(asked.Add(1)) - 1
					r := row.replies[min(n, len(row.replies)-1)]
					a := r.answer
					a.AskedAt = time.Now()
					if url != "http://pg1:8008" {
						t.Errorf("asked %q", url)
					}
					select {
					case <-time.After(r.after):
					case <-ctx.Done():
						a = route.RESTAnswer{AskedAt: a.AskedAt, Err: "no answer in time"}
					}
					return a
				}
			}, func(t *testing.T, s *stage) {
				s.topo.Failsafe = true
				s.topo.Members[0].APIURL = "http://pg1:8008"
				s.news()
				s.topo.Leader = ""
				s.news()
				s.pass(row.look)
				if got := s.tables.last(); !strings.Contains(got, row.want) {
					t.Errorf("%v after the deletion: %s, want %s", row.look, got, row.want)
				}
				if n := asked.Load(); n != row.asked && row.asked >= 0 {
					t.Errorf("asked %d times, want %d", n, row.asked)
				}
			})
		})
	}
}

// TestControlTakesPatronisWord: rule 24, with etcd out of reach.
func TestControlTakesPatronisWord(t *testing.T) {
	for rule, want := range map[route.BlindRule]string{
		route.BlindProbe: "epoch 3, primary pg2", route.BlindStatic: "epoch 1, primary none",
	} {
		t.Run(rule.String(), func(t *testing.T) {
			playWith(t, func(c *control) {
				c.blind = func() route.BlindRule { return rule }
				c.questions.ask = func(_ context.Context, url string) route.RESTAnswer {
					return route.RESTAnswer{AskedAt: time.Now(), Code: 200, Primary: url == "http://pg2:8008"}
				}
			}, func(t *testing.T, s *stage) {
				s.topo.Members[1].APIURL = "http://pg2:8008"
				s.news()
				time.Sleep(5 * time.Second) // no news
				s.servers.set("pg1:1", "t")
				s.servers.set("pg2:1", "f")
				time.Sleep(5 * time.Second)
				if got := s.tables.last(); !strings.Contains(got, want) {
					t.Errorf("got %s, want %s", got, want)
				}
			})
		})
	}
}
