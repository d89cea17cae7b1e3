// Package dial turns an address into a logged-in PostgreSQL connection, for the
// pool and for health probes alike.
//
//	Login --> Conn --Query--> rows
//	            |---Detach--> descriptor for an event loop
//	            `---Close
//	Cancel: a connection of its own, for one request
//
// Everything here blocks, on goroutines of the caller's, and ends at once when
// the caller's context does. A server is not trusted: what it may send is
// bounded, bytes are kept only after they have arrived, and a message out of
// turn ends the connection. The package pools nothing, retries nothing and logs
// nothing.
package dial
