// Package failover breaks a real cluster in every way that it knows, while
// clients read and write through pgvip, and says what they noticed.
//
//	             +-- writers, readers, idlers --> pgvip (session) ------+
//	scenario --> +-- writers, readers, idlers --> pgvip (transaction) --+--> lab: 3 nodes, 3 etcd members
//	  fault      +-- writers, readers, idlers --> HAProxy (a rival) ----+       ^            ^
//	             +-- prober: a write to each node every few ms -----------------+            |
//	             +-- watcher: Patroni's keys, with the time at which each event was seen ----+
//
// All fronts see the same fault. Everything that is compared is taken on the
// monotonic clock of one process.
//
// The checkers can fail: their tests feed them made-up histories.
package failover
