// Package console is the SQL console: what psql sees in the database pgbouncer,
// or pgvip. It speaks PostgreSQL's protocol, simple and extended, and PgBouncer's
// commands: SHOW and the rest, with the columns, tags and messages of 1.25.2.
//
//	bytes -> readMessage -> session -> Parse: a Command -> SHOW table or act
//	                                                           |
//	                                                         Target
//
// Each operator has a goroutine or two; nothing here runs on an event loop. What
// the console knows and does is behind the interface Target.
package console
