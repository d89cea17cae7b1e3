// Package pool owns the connections to PostgreSQL: it logs them in, lends them
// to one client at a time, takes them back clean and retires them.
//
// A Pool is one node, database and user, and lives whole on one event loop, so
// its lists need no lock. Waiters are served first come, first served; of the
// idle servers the one used last goes first, so that the others can time out.
//
//	        login (goroutine)       for a waiter
//	(none) -------------------> idle -----------> settling --check, SET--> lent
//	                             ^                    |                      |
//	                             |               waiter left              Release
//	                             |                    v                      v
//	                             '----clean---- resetting <--answered-- draining
//
//	any of them --broken, FATAL, lifetime, node has left--> closed
//
// Every message that goes to a server, the client's or our own, is noted in one
// queue of expected replies (wire.Replies). A server is lent on only when that
// queue is empty, its transaction is closed and no cancel request for it is
// under way.
//
// The package reads no client's socket; a Borrower stands for the client.
package pool
