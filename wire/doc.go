// Package wire speaks the PostgreSQL frontend/backend protocol, version 3, over
// bytes that somebody else has read.
//
// It frames a stream into messages (Framer), remembers which replies a server
// still owes (Replies), reads startup packets (ParseStartup) and builds and
// reads ErrorResponse bodies (Error). It does no I/O, starts no goroutine and
// allocates nothing per message. A length announced by a peer is never trusted
// with memory: bytes are kept only after they have arrived.
//
// Message formats: PostgreSQL documentation, chapter "Frontend/Backend
// Protocol", section "Message Formats".
package wire
