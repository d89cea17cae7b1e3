// Package tlsconf turns what an operator says about TLS, PgBouncer's sslmodes
// and the names of files, into what crypto/tls understands.
//
//	Options --Accepting--> Acceptor    clients come to pgvip
//	        --Connecting-> Connector   pgvip goes to PostgreSQL
//
// Both are read from their files once and never change: a reload makes new ones,
// and connections that are there keep what they have. The package opens no
// connection; Socket, which lies under every tls.Conn of pgvip, only lets an
// event loop take over what a goroutine began.
package tlsconf
