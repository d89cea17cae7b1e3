package wire

// CopyBoth reports that the server streams its log, and waits for what the client
// has to say to that, or for its CopyDone.
func (r *Replies) CopyBoth() bool { return r.copyBoth }

// gotCopyBoth is the answer to START_REPLICATION. The query goes on: after both
// sides have said CopyDone come results, CommandComplete and ReadyForQuery. Syncs
// play no part in it, the extended protocol is refused to such clients.
func (r *Replies) gotCopyBoth() (Action, error) {
	if r.size == 0 || r.front().kind() != kindQuery {
		return 0, ErrUnexpectedReply
	}
	r.copyBoth = true
	for i := uint32(1); i < r.size; i++ {
		if r.ring[(r.head+i)&uint32(len(r.ring)-1)].kind() == kindCopyEnd {
			r.copyBoth = false // it has been sent already
		}
	}
	return r.front().action(), nil
}
