package stats

import "time"

// Averager turns readings of counters into averages over the last one to two
// periods, as PgBouncer's stats_period does. It belongs to one goroutine, or its
// owner's lock.
type Averager struct {
	older, newer map[string]Traffic // by name
	since, next  time.Time          // when they were read
}

// NewAverager begins to average; until the first Tick it does so since start.
func NewAverager(start time.Time) *Averager {
	return &Averager{older: map[string]Traffic{}, newer: map[string]Traffic{}, since: start, next: start}
}

// Tick takes the reading that ends a period. It keeps the map.
func (a *Averager) Tick(now time.Time, reading map[string]Traffic) {
	a.older, a.since = a.newer, a.next
	a.newer, a.next = reading, now
}

// Average gives the average of what goes by name, of which t is the latest
// reading.
func (a *Averager) Average(now time.Time, name string, t *Traffic) Traffic {
	old := a.older[name]
	return t.Average(&old, now.Sub(a.since))
}
