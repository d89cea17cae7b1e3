package route

import (
	"maps"
	"time"
)

// warmStep is how fine a slow start is, in percent: each step is a new table.
const warmStep = 5

// noteWarming begins the slow start of replicas that have come up, and gives each
// one under way its share. Who was there in the first table was there before
// pgvip, and who was only drained has kept its caches.
func (b *builder) noteWarming() {
	warm := maps.Clone(b.next.memo.warm)
	for _, n := range b.next.Replicas {
		if b.comesUp(n) {
			if warm == nil {
				warm = make(map[string]time.Time)
			}
			warm[n.Name] = b.in.Now
		}
	}
	for name, since := range warm {
		n := b.next.Lookup(name)
		age := b.in.Now.Sub(since)
		if n == nil || !b.next.Has(Replica, n) || age >= b.in.Policy.SlowStart {
			delete(warm, name)
			continue
		}
		s := b.standing(n)
		s.Throttle = max(int(age*100/b.in.Policy.SlowStart)/warmStep*warmStep, warmStep)
		if s.MaxConn > 0 {
			s.MaxConn = max(s.MaxConn*s.Throttle/100, 1)
		}
		b.wakeAt(since.Add(b.in.Policy.SlowStart * time.Duration(int(age*100/b.in.Policy.SlowStart)/warmStep*warmStep+warmStep) / 100))
	}
	if len(warm) == 0 {
		warm = nil
	}
	b.next.memo.warm = warm
}

func (b *builder) comesUp(n *Node) bool {
	if len(b.prev.Nodes) == 0 || b.prev.hasReplica(n.Name) {
		return false
	}
	x := b.prev.exclusion(n.Name)
	return x == nil || !x.Cause.warm()
}

func (t *Table) hasReplica(name string) bool {
	for _, n := range t.Replicas {
		if n.Name == name {
			return true
		}
	}
	return false
}
