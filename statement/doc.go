// Package statement lets clients that share server connections have prepared
// statements of their own. It decides what goes to a server in place of a
// client's Parse, Bind, Describe and Close, and what each answer means for both
// sides. It does no I/O; everything in it belongs to one event loop.
//
//	client "q1" --+                               +-- server: pgvip_5f1e..., pgvip_90aa...
//	client "s7" --+--> Statement (text, types) <--+-- server: pgvip_5f1e...
//	client "a"  --+    in the loop's Store        +-- server: nothing yet
//
// A Client maps its names to statements, a Server knows which statements its
// connection has. A statement that a server lacks is parsed there first, the
// answer swallowed; a Parse of one that it has is not sent, the answer made up in
// its place (wire.Replies).
//
// What was sent may fail, or be skipped after an error up to the next Sync. Both
// maps therefore change only when an answer has come, in the order of the
// answers; what is under way is noted beside them. A message whose meaning
// depends on something under way from before the last Sync waits for its answer
// (Wait): within a batch it need not, since it would be skipped as well.
//
// Errors are the server's own. A name that the client has not prepared is passed
// on as it is, and no server has it; a duplicate is parsed again under the name
// that it has there. So text, order and transaction are PostgreSQL's; only the
// name in the message is put right.
package statement
