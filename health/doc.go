// Package health asks each PostgreSQL node whether it lives, takes writes, and
// belongs to the cluster.
//
// A Monitor keeps one logged-in connection per node and asks one question on it
// at the node's pace. It proves, it does not decide: what follows from an answer
// is package route's business. It never routes, never fences, and never holds a
// connection that carries anybody's work.
//
//	            answered            refused, or fall times silent
//	unprobed ------------> up <---> down
//	                       ^         |
//	                       +---------+ rise answers (one for the leader)
//
// Replicas may be checked by Patroni's REST interface or by connecting instead; who
// leads, or is about to, is always asked by SQL. A no of Patroni's takes a node down
// without calling it dead. From the answers of the primary and of a replica comes
// the lag of the latter (trail.go).
//
// A check error (wrong probe password, no free connection, no such database) is
// an answer of a living server that proves nothing: it changes no state.
package health
