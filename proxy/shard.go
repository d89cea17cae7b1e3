package proxy

import (
	"github.com/pgvip/pgvip/loop"
)

// shard is what the sessions of one loop share. It belongs to that loop.
type shard struct {
	proxy *Proxy
	loop  *loop.Loop
	stay  stay // of those who have not moved

	lot
	clocks
}
