// Package auth logs clients in at pgvip and pgvip in at servers: trust,
// cleartext password, MD5 and SCRAM-SHA-256 (RFC 5802, RFC 7677), both sides, and
// for clients the name in their certificate or the owner of their Unix socket.
// An HBA chooses among these for each connection, an IdentMap says which users
// such a name may be.
//
// It is bytes in, bytes out: a Login is fed the bodies of a client's messages, a
// Client those of a server's, and both return what is to be sent. It owns no
// socket, starts no goroutine and never logs.
//
// What makes a pooler without plain passwords possible is pass-through: a
// client that proves itself by SCRAM shows its ClientKey to whoever holds the
// verifier, and with ClientKey pgvip can log in to a server that holds the same
// verifier:
//
//	client --proof--> Login --Credential{Keys}--> Client --proof--> server
//	                    ^                                             ^
//	                    +------- the same SCRAM-SHA-256$... ----------+
//
// Every type that holds something secret prints as "[redacted]", whatever the
// verb or encoder.
package auth
