package route

import "strconv"

// weight is a server's share of the reads: what is configured here, else what
// Patroni's tag says, else 1.
func (b *builder) weight(name string) int {
	if p := b.in.Policy.Servers[name]; p.Weighted {
		return min(max(p.Weight, 0), MaxWeight)
	}
	if m := b.in.Topology.Member(name); m != nil {
		if w, err := strconv.Atoi(m.Tags[WeightTag]); err == nil && w >= 0 && w <= MaxWeight {
			return w
		}
	}
	return 1
}
