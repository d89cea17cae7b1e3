// Package proxy serves the clients: it accepts them, logs them in, takes each
// through its session and answers their cancel requests.
//
//	         cold path: a goroutine                hot path: an event loop
//	accept -> startup -> authentication -> welcome -> session
//	            |
//	            '-> cancel request
//
// A session has no goroutine and, while idle, no buffer. It has a server from
// its first request on, which its pool lends to it:
//
//	          request            a node is known          server lent
//	resting ----------> parked -------------------> queued -----------> bound
//	   ^                  ^                            |                  |
//	   |                  '------- node gone ----------'                  |
//	   '-- (transaction mode: at the end of each transaction) ------------'
//
// The package opens no connection to PostgreSQL itself; package pool does.
package proxy
