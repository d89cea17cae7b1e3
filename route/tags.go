package route

import (
	"fmt"
	"maps"
	"slices"
)

// tags are those of Patroni's configuration, under those that are configured
// here.
func (b *builder) tags(m *Member) map[string]string {
	own := b.in.Policy.Servers[m.Name].Tags
	if len(own) == 0 {
		return m.Tags
	}
	all := make(map[string]string, len(m.Tags)+len(own))
	maps.Copy(all, m.Tags)
	maps.Copy(all, own)
	return all
}

// preferred leaves out the members without the wanted tags; when these are only
// preferred and nobody has them, everybody will do.
func (b *builder) preferred(fit []*Member) []*Member {
	matched := make([]*Member, 0, len(fit))
	why := make(map[string]string)
	for _, m := range fit {
		if text := b.mismatch(m); text != "" {
			why[m.Name] = text
			continue
		}
		matched = append(matched, m)
	}
	if len(matched) == 0 && b.in.Policy.PreferTags {
		return fit
	}
	for _, m := range fit {
		if text, out := why[m.Name]; out {
			b.leaveOut(m, OutTag, text)
		}
	}
	slices.SortFunc(b.next.Out, func(x, y Exclusion) int { return compareNames(x.Name, y.Name) })
	return matched
}

// mismatch says which of the wanted tags m lacks, empty when it has them all. As
// with Patroni's /replica?tag_zone=z1, a tag that is not set is another value.
func (b *builder) mismatch(m *Member) string {
	want := b.in.Policy.ReplicaTags
	if len(want) == 0 {
		return ""
	}
	tags := b.tags(m)
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got, set := tags[key]; !set {
			return fmt.Sprintf("tag %s is not set, wanted is %q", key, want[key])
		} else if got != want[key] {
			return fmt.Sprintf("tag %s is %q, wanted is %q", key, got, want[key])
		}
	}
	return ""
}
