package dcs

import (
	"bytes"
	"maps"
	"slices"
)

// keyspace is our copy of the keys under the prefix, as of one revision. It is
// fed by reads and by watch events, which overlap: what is older than what we
// have is ignored.
type keyspace struct {
	cluster  uint64
	revision int64
	keys     map[string]KV
}

// replace takes the result of a read at revision. It reports whether any key
// differs from the copy.
func (k *keyspace) replace(cluster uint64, revision int64, kvs []KV) (changed bool) {
	fresh := make(map[string]KV, len(kvs))
	for _, kv := range kvs {
		fresh[kv.Key] = kv
	}
	changed = !maps.EqualFunc(k.keys, fresh, func(a, b KV) bool {
		return a.ModRevision == b.ModRevision && bytes.Equal(a.Value, b.Value)
	})
	k.cluster, k.revision, k.keys = cluster, revision, fresh
	return changed
}

// event is one change of one key.
type event struct {
	kv      KV // without a value when it was deleted
	deleted bool
}

// apply takes the events of one revision. It reports whether they were news.
func (k *keyspace) apply(revision int64, events []event) bool {
	if revision <= k.revision {
		return false
	}
	k.revision = revision
	for _, ev := range events {
		if ev.deleted {
			delete(k.keys, ev.kv.Key)
			continue
		}
		k.keys[ev.kv.Key] = ev.kv
	}
	return true
}

// list gives the keys in order of their names.
func (k *keyspace) list() []KV {
	kvs := make([]KV, 0, len(k.keys))
	for _, name := range slices.Sorted(maps.Keys(k.keys)) {
		kvs = append(kvs, k.keys[name])
	}
	return kvs
}
