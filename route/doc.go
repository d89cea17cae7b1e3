// Package route decides where work goes: to which node as the primary, to which
// as replicas, and to nobody.
//
// It turns what the cluster manager says (Topology) and what SQL says (Health)
// into an immutable Table. Everything here is a pure function of its arguments:
// no socket, no clock, no goroutine, so that every rule is a row of a test.
//
//	         leader key names X            SQL proves X writable
//	none ----------------------> candidate ---------------------> primary
//	 ^                            ^    |                          |    |
//	 |      key deleted or moved  |    |   refused, silent or     |    |
//	 +----------------------------|----+   in recovery            |    |
//	 |                            +-------------------------------+    |
//	 +-----------------------------------------------------------------+
//	        fenced: key moved or deleted; the epoch is raised
//
// With failsafe_mode on, a deleted key leads to a question first (failsafe.go);
// while the store's news is old, Patroni's own word may stand in for the key
// (vouch.go); keys of a store that was set back are no events (store.go). In a
// list of servers without Patroni, "leader key names X" reads "X alone is
// writable on the highest timeline".
//
// Replicas serve reads unless a check, an operator, a tag, a weight or their lag
// takes them out (Cause); Policy is what the configuration asks for. Of what is
// out only what is Dead loses its connections.
//
// The leader key alone is not proof: Patroni writes it 0.2 s (sometimes minutes)
// before PostgreSQL accepts a write. SQL alone is not proof either: an orphan
// whose Patroni was killed stays writable for ever.
package route
