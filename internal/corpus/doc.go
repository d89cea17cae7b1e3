// Package corpus holds conversations with PostgreSQL as data and replays them.
//
// A Transcript is what a client sends on one connection, with barriers that say
// what it waits for. A Player sends one to any address, in one of several
// chunkings, and keeps the exact bytes the server answers: a Recording. Compare
// finds the first message in which two recordings differ. Recordings made from
// PostgreSQL 15 itself are kept as goldens, so that a state machine can be fed
// the very bytes of both directions without a socket (Recording.Steps).
//
// The package imports nothing else of this project: it is the oracle the other
// packages are held to, and any of them may use it in its tests.
//
// # The language
//
// A file in testdata/transcripts holds several transcripts. One line is one
// instruction; '#' begins a comment line. Client messages are named by their
// type byte (PostgreSQL documentation, "Message Formats"):
//
//	transcript NAME [TAG...]     begins a transcript
//	startup NAME VALUE           one more parameter of the startup packet
//	Q SQL                        Query
//	P NAME SQL [OID...]          Parse
//	B PORTAL STMT [ARG...] [-> FORMAT...]   Bind; FORMAT 0 text, 1 binary
//	D S|P NAME                   Describe a statement or a portal
//	E PORTAL [ROWS]              Execute, 0 or nothing: all rows
//	C S|P NAME                   Close
//	S, H, X, c                   Sync, Flush, Terminate, CopyDone
//	d DATA                       CopyData
//	f REASON                     CopyFail
//	F OID [ARG...] [-> FORMAT]   FunctionCall
//	raw TYPE BODY                any message, well formed or not, length added
//	bytes DATA                   bytes as they are, such as half a message
//	wait TYPE [N]                send what stands before, then read until N
//	                             (default 1) messages of this type have come
//	wait row TEXT TYPE           the same for one, counted from the DataRow with TEXT
//	wait nothing                 send what stands before in a write of its own
//	wait eof                     read until the server closes
//	cut                          half-close after what stands before
//	times N ... end              the lines between, N times
//
// A word is bare or a Go string; "x"*70000 repeats one and + joins several. An
// ARG is a word (text format), b"..." (binary format) or null. An instruction
// is sent with its neighbours: everything up to the next wait is one step, and
// in the normal chunking one write. A transcript that does not end with
// "wait eof" is ended by a Terminate.
//
// Tags: "primary" needs a node that accepts writes; "alone" must not run beside
// itself, because NOTIFY reaches every session of a database; "state" relies on session
// state between its transactions, and so on a server of its own. A transcript whose
// bytes depend on timing does not belong here.
package corpus
