package failover

import (
	"context"
	"fmt"
	"path"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/pgvip/pgvip/internal/lab"
)

// keyEvent is a change of one of Patroni's keys, and when it was seen here.
type keyEvent struct {
	at      time.Time
	key     string // below the scope: "leader", "members/n1"
	value   string
	deleted bool
}

// watcher follows Patroni's keys as pgvip does, by a connection of its own. Use
// newWatcher, then close.
type watcher struct {
	client *clientv3.Client
	prefix string
	cancel context.CancelFunc
	group  sync.WaitGroup

	// Guarded by mu.
	mu     sync.Mutex
	events []keyEvent
	anew   context.CancelFunc // ends the watch there is; another follows
}

func newWatcher(c *lab.Cluster) (*watcher, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints: c.EtcdEndpoints(), DialTimeout: 2 * time.Second, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, fmt.Errorf("watch etcd: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watcher{client: client, cancel: cancel, prefix: path.Join("/", c.Namespace, c.Scope) + "/"}
	w.group.Go(func() { w.follow(ctx) })
	return w, nil
}

func (w *watcher) close() {
	w.cancel()
	w.group.Wait()
	w.client.Close()
}

// follow watches, again after each error: an event that is missed in between
// makes a scenario fail, which is on the safe side.
func (w *watcher) follow(ctx context.Context) {
	for ctx.Err() == nil {
		inner, cancel := context.WithCancel(ctx)
		w.mu.Lock()
		w.anew = cancel
		w.mu.Unlock()
		for r := range w.client.Watch(clientv3.WithRequireLeader(inner), w.prefix, clientv3.WithPrefix()) {
			w.note(r.Events)
			if r.Err() != nil {
				break
			}
		}
		cancel()
		pause(ctx, 100*time.Millisecond)
	}
}

// again starts a new watch. One goes on behind the last revision that it has seen,
// and waits for ever when the store was set back.
func (w *watcher) again() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.anew()
}

func (w *watcher) note(events []*clientv3.Event) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range events {
		w.events = append(w.events, keyEvent{
			at: now, key: strings.TrimPrefix(string(e.Kv.Key), w.prefix), value: string(e.Kv.Value),
			deleted: e.Type == clientv3.EventTypeDelete,
		})
	}
}

// seen gives the first event after a moment that fits.
func (w *watcher) seen(after time.Time, fits func(keyEvent) bool) (keyEvent, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, e := range w.events {
		if e.at.After(after) && fits(e) {
			return e, true
		}
	}
	return keyEvent{}, false
}

// await waits for such an event.
func (w *watcher) await(ctx context.Context, what string, after time.Time, fits func(keyEvent) bool) (keyEvent, error) {
	for {
		if e, ok := w.seen(after, fits); ok {
			return e, nil
		}
		if err := pause(ctx, 5*time.Millisecond); err != nil {
			return keyEvent{}, fmt.Errorf("wait for %s in etcd: %w", what, err)
		}
	}
}

// forget drops what was before a scenario.
func (w *watcher) forget() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.events = nil
}

// put writes a key below the scope.
func (w *watcher) put(ctx context.Context, key, value string) error {
	_, err := w.client.Put(ctx, w.prefix+key, value)
	return err
}

// remove deletes a key below the scope.
func (w *watcher) remove(ctx context.Context, key string) error {
	_, err := w.client.Delete(ctx, w.prefix+key)
	return err
}

// leaderGone fits the deletion of the leader key.
func leaderGone(e keyEvent) bool { return e.key == "leader" && e.deleted }

// leaderIs fits a leader key that names another node than the given one.
func leaderIsNot(name string) func(keyEvent) bool {
	return func(e keyEvent) bool { return e.key == "leader" && !e.deleted && e.value != name }
}

// switchoverNow fits a failover key that asks for a switchover at once. A finished
// request is overwritten with an empty object.
func switchoverNow(e keyEvent) bool {
	return e.key == "failover" && !e.deleted && strings.Contains(e.value, `"leader"`) && !strings.Contains(e.value, "scheduled_at")
}
