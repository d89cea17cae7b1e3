//go:build !race

package loop

const raceAllocations = 0
