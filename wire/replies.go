package wire

import "errors"

// ErrUnexpectedReply is returned by Replies.Got for a message that the server
// owes nobody: the two sides are no longer in step, and the connection must be
// closed rather than be lent again.
var ErrUnexpectedReply = errors.New("reply that nobody asked for")

// Action says what becomes of a reply.
type Action uint8

// Actions.
const (
	// Forward: the reply belongs to the client.
	Forward Action = iota
	// Swallow: pgvip asked, pgvip reads the answer.
	Swallow
	// Synthesise: nothing was sent to the server; the reply is made up when its
	// turn comes.
	Synthesise
)

// Replies is the ordered queue of replies that one server connection still
// owes, with the transaction status it reported last. It is told of every
// message sent to the server (Sent) and every message that comes back (Got),
// and so knows at each moment whom a reply belongs to and whether the server is
// free. It follows PostgreSQL's rules: after an error in the extended protocol
// everything up to the next Sync goes unanswered, and a Sync in COPY IN mode is
// ignored (chapter "Message Flow"). It is pure and does no I/O.
//
//	Sent: P B E S         queue  [P B E S]
//	Got:  1               queue  [B E S]
//	Got:  E (error)       queue  [S]         B and E are skipped by the server
//	Got:  Z               queue  []
type Replies struct {
	ring []entry // power of two long
	head uint32
	size uint32
	done uint64 // entries taken off so far

	status   byte // of the last ReadyForQuery: 'I', 'T', 'E'; 0 before the first
	open     bool // extended messages were sent after the last Sync or Query
	skipping bool // the server discards messages until a Sync that is not sent yet
	copyIn   bool // the server reads COPY data and will ignore a Sync
	copyBoth bool // replication streams both ways, and the client has not ended its part
	surplus  int  // Syncs taken as ignored that may yet be answered
}

// Status is the transaction status of the last ReadyForQuery: 'I' idle, 'T' in
// a transaction, 'E' in a failed one; 0 before the first.
func (r *Replies) Status() byte { return r.status }

// SetStatus starts the queue with the status that the login ended with.
func (r *Replies) SetStatus(status byte) { r.status = status }

// Outstanding is the number of messages whose replies have not all come.
func (r *Replies) Outstanding() int { return int(r.size) }

// Done is the number of messages dealt with so far: answered, or skipped by the
// server. The oldest outstanding one is number Done()+1.
func (r *Replies) Done() uint64 { return r.done }

// Last is the number of the message that was noted last. A message that no
// answer is expected to gets no number.
func (r *Replies) Last() uint64 { return r.done + uint64(r.size) }

// Settled reports that the server owes nothing and waits for a message: every
// reply has come and no implicit transaction is open. A Flush settles nothing.
func (r *Replies) Settled() bool {
	return r.size == 0 && !r.open && !r.skipping && !r.copyIn
}

// Free reports that the server may be given to somebody else: settled, outside
// a transaction, and in step beyond doubt.
func (r *Replies) Free() bool {
	return r.Settled() && r.status == 'I' && r.surplus == 0
}

// InDoubt reports that ReadyForQuery may still come for a Sync that was sent during a
// COPY. The first answer to anything sent later ends the doubt.
func (r *Replies) InDoubt() bool { return r.surplus > 0 }

// Doubtful reports that all that is certain to be answered has been, up to a Sync
// that was sent during a COPY which has failed.
func (r *Replies) Doubtful() bool { return r.size > 0 && r.front().kind() == kindMaybeSync }

// InBatch reports that messages of the extended protocol were sent which no Sync
// has followed yet.
func (r *Replies) InBatch() bool { return r.open || r.skipping }

// CopyIn reports that the server waits for COPY data from the client, of COPY FROM
// STDIN or of replication.
func (r *Replies) CopyIn() bool { return r.copyIn || r.copyBoth }

// Sent notes that a message of this type was sent to the server, or with
// Synthesise that its reply is to be made up at this place in the order.
func (r *Replies) Sent(typ byte, action Action) {
	kind := kindOf[typ]
	if kind == 0 {
		return // Flush, CopyData, Terminate: nothing comes back
	}
	if r.copyIn {
		r.sentInCopy(&kind)
	}
	switch kind {
	case kindSync:
		r.open = false
		r.skipping = false
	case kindQuery, kindFunction:
		if r.skipping {
			return
		}
		r.open = false
	case kindMaybeSync:
	case kindCopyEnd:
		// Outside COPY the server ignores it; it only matters behind
		// something that may yet turn out to be a COPY.
		r.copyBoth = false
		if r.size == 0 {
			return
		}
	default:
		if r.skipping {
			return
		}
		r.open = true
	}
	r.push(kind | entry(action)<<actionShift)
}

// sentInCopy settles what a message means that is sent while the server reads
// COPY data.
func (r *Replies) sentInCopy(kind *entry) {
	switch *kind {
	case kindSync:
		*kind = kindMaybeSync
	case kindCopyEnd:
		r.copyIn = false
	default:
		// PostgreSQL ends the connection for it, unless the COPY has failed by then:
		// in that case it is answered as ever.
		r.copyIn = false
	}
}

// Got notes that a message of this type came from the server and returns what
// to do with it. The error is ErrUnexpectedReply.
func (r *Replies) Got(typ byte) (Action, error) {
	if r.surplus > 0 {
		r.noteBegun(typ)
	}
	switch typ {
	case 'D', 'C', 'T': // most frequent first
		return r.gotResult(typ)
	case 'Z':
		return 0, ErrUnexpectedReply // ReadyForQuery carries a status: see GotReady
	case '1':
		return r.pop(kindParse)
	case '2':
		return r.pop(kindBind)
	case '3':
		return r.pop(kindClose)
	case 'n':
		return r.pop(kindDescribe)
	case 't', 'H', 'd', 'c', 'V':
		return r.current()
	case 'I', 's':
		return r.gotResult(typ)
	case 'E':
		return r.gotError()
	case 'G':
		return r.gotCopyIn()
	case 'W':
		return r.gotCopyBoth()
	case 'N', 'S':
		return r.gotAsync()
	case 'A':
		return Forward, nil // NotificationResponse answers nobody's message
	default:
		return 0, ErrUnexpectedReply
	}
}

// noteBegun ends the doubt about Syncs: what was sent behind them is being answered,
// so whatever they were to get has come.
func (r *Replies) noteBegun(typ byte) {
	switch {
	case typ == 'N' || typ == 'S' || typ == 'A' || r.size == 0:
	case r.front().kind() == kindSync || r.front().kind() == kindMaybeSync:
	default:
		r.surplus = 0
	}
}

// gotAsync is for NoticeResponse and ParameterStatus, which may come at any
// time: they belong to whoever waits, and to the client when nobody does.
func (r *Replies) gotAsync() (Action, error) {
	if r.size == 0 {
		return Forward, nil
	}
	return r.front().action(), nil
}

func (r *Replies) gotResult(typ byte) (Action, error) {
	if r.size == 0 {
		return 0, ErrUnexpectedReply
	}
	e := r.front()
	switch e.kind() {
	case kindQuery:
		if typ == 's' {
			return 0, ErrUnexpectedReply
		}
		if typ == 'C' && r.size > 1 {
			r.endCopy()
		}
	case kindExecute:
		if typ == 'C' || typ == 'I' || typ == 's' {
			r.endCopy()
			r.drop()
		}
	case kindDescribe:
		if typ != 'T' {
			return 0, ErrUnexpectedReply
		}
		r.drop()
	default:
		return 0, ErrUnexpectedReply
	}
	return e.action(), nil
}

// gotError applies the rule of the extended protocol: "the backend reads and
// discards messages until it reaches a Sync". The error of a Query or
// FunctionCall ends with that message's own ReadyForQuery. Whose Sync ends the
// batch, his is the error, whichever message of the batch it answers.
func (r *Replies) gotError() (Action, error) {
	if r.size == 0 {
		if r.open {
			// The implicit transaction was ended from outside, by a cancel or a
			// time-out, with every reply already given.
			r.skipping = true
		}
		return Forward, nil
	}
	e := r.front()
	switch e.kind() {
	case kindQuery, kindFunction, kindSync, kindMaybeSync:
		r.copyIn, r.copyBoth = false, false
		return e.action(), nil
	default:
		r.copyIn = false
		r.skipToSync()
		if r.size > 0 {
			return r.front().action(), nil
		}
		return Forward, nil
	}
}

// Disown has everything that is outstanding swallowed, whoever asked for it.
func (r *Replies) Disown() {
	for i := range r.size {
		at := &r.ring[(r.head+i)&uint32(len(r.ring)-1)]
		*at = at.kind() | entry(Swallow)<<actionShift
	}
}

func (r *Replies) skipToSync() {
	for r.size > 0 {
		if k := r.front().kind(); k == kindSync || k == kindMaybeSync {
			return
		}
		r.dropOne()
	}
	r.skipping = true
}

// gotCopyIn turns the Syncs already sent behind a COPY FROM STDIN into ones
// that the server will ignore, up to the end of the data.
func (r *Replies) gotCopyIn() (Action, error) {
	if r.size == 0 {
		return 0, ErrUnexpectedReply
	}
	e := r.front()
	if k := e.kind(); k != kindQuery && k != kindExecute {
		return 0, ErrUnexpectedReply
	}
	r.copyIn = true
	for i := uint32(1); i < r.size; i++ {
		at := &r.ring[(r.head+i)&uint32(len(r.ring)-1)]
		switch at.kind() {
		case kindSync:
			*at = *at&^kindMask | kindMaybeSync
			// Ignored, it ends no batch.
			r.open = r.open || e.kind() == kindExecute && !r.synced(i+1)
		case kindCopyEnd:
			r.copyIn = false
			return e.action(), nil
		default:
			// As in sentInCopy.
			r.copyIn = false
			return e.action(), nil
		}
	}
	return e.action(), nil
}

// synced reports that what is outstanding from place i on ends the batch before it.
func (r *Replies) synced(i uint32) bool {
	for ended := false; i < r.size; i++ {
		switch r.ring[(r.head+i)&uint32(len(r.ring)-1)].kind() {
		case kindCopyEnd:
			ended = true
		case kindSync:
			if ended {
				return true
			}
		}
	}
	return false
}

// endCopy forgets the Syncs that a COPY has ignored, once it has succeeded.
func (r *Replies) endCopy() {
	for i := uint32(1); i < r.size; i++ {
		at := &r.ring[(r.head+i)&uint32(len(r.ring)-1)]
		if at.kind() != kindMaybeSync {
			return
		}
		*at = *at&^kindMask | kindCopyEnd
	}
}

// GotReady notes a ReadyForQuery with its status and returns what to do with it.
func (r *Replies) GotReady(status byte) (Action, error) {
	if status != 'I' && status != 'T' && status != 'E' {
		return 0, ErrUnexpectedReply
	}
	r.copyIn, r.copyBoth = false, false
	e, ok := r.popReady()
	if !ok {
		return 0, ErrUnexpectedReply
	}
	r.status = status
	return e.action(), nil
}

// popReady takes the entry that a ReadyForQuery answers. A Sync sent during a
// failed COPY may have been ignored or not; where a certain one stands behind
// it, that one is meant, and the doubt is kept as surplus.
func (r *Replies) popReady() (entry, bool) {
	if r.surplus > 0 && r.size > 0 {
		switch r.front().kind() {
		case kindSync, kindMaybeSync, kindCopyEnd:
		default:
			// What is first has not been answered by anything yet.
			r.surplus--
			return kindSync, true
		}
	}
	doubtful := 0
	for r.size > 0 {
		e := r.front()
		switch e.kind() {
		case kindQuery, kindFunction:
			if doubtful > 0 {
				return 0, false // whether it was skipped with the batch cannot be known
			}
			r.drop()
			r.doubt()
			return e, true
		case kindSync:
			r.surplus += doubtful
			r.drop()
			r.doubt()
			return e, true
		case kindMaybeSync:
			doubtful++
		case kindCopyEnd:
		default:
			return 0, false
		}
		r.dropOne()
	}
	switch {
	case doubtful > 0:
		r.surplus += doubtful - 1
		r.open = false
		return kindSync, true
	case r.surplus > 0:
		r.surplus--
		return kindSync, true
	}
	return 0, false
}

// doubt takes off the Syncs that were sent into a COPY of a simple Query that
// has failed: each was ignored, or will be answered by a surplus ReadyForQuery.
func (r *Replies) doubt() {
	for r.size > 0 && r.front().kind() == kindMaybeSync {
		r.surplus++
		r.drop()
	}
}

// Synthetic returns the reply to make up now, when the oldest outstanding entry
// is one that was never sent, and takes it off the queue. Call it until ok is
// false, after every Sent with Synthesise and every Got.
func (r *Replies) Synthetic() (typ byte, ok bool) {
	if r.size == 0 {
		return 0, false
	}
	e := r.front()
	if e.action() != Synthesise {
		return 0, false
	}
	switch e.kind() {
	case kindParse:
		typ = '1'
	case kindClose:
		typ = '3'
	default:
		panic("BUG: a reply that cannot be made up")
	}
	r.drop()
	return typ, true
}

// current is the action of the oldest entry, which stays.
func (r *Replies) current() (Action, error) {
	if r.size == 0 {
		return 0, ErrUnexpectedReply
	}
	return r.front().action(), nil
}

func (r *Replies) pop(want entry) (Action, error) {
	if r.size == 0 || r.front().kind() != want {
		return 0, ErrUnexpectedReply
	}
	e := r.front()
	r.drop()
	return e.action(), nil
}
