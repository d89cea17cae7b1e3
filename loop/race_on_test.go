//go:build race

package loop

// raceAllocations is what the race detector adds to a TLS record: under it a
// sync.Pool, where crypto/tls keeps its buffers, throws a part away on purpose.
const raceAllocations = 2
