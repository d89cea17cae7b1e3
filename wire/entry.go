package wire

// An entry is one message whose reply is outstanding: its kind in the low four
// bits, what becomes of the reply above. One byte, because a pipeline may have
// tens of thousands outstanding.
type entry uint8

const (
	kindParse entry = iota + 1
	kindBind
	kindClose
	kindDescribe
	kindExecute
	kindSync
	kindQuery
	kindFunction
	kindCopyEnd   // CopyDone or CopyFail: no reply, but Syncs before it may have none either
	kindMaybeSync // a Sync sent in COPY mode, which the server ignores unless COPY failed before
)

const (
	kindMask    entry = 0x0f
	actionShift int   = 4
)

// kindOf maps a frontend message type to its kind; 0 expects no reply.
var kindOf = [256]entry{
	'P': kindParse, 'B': kindBind, 'C': kindClose, 'D': kindDescribe, 'E': kindExecute,
	'S': kindSync, 'Q': kindQuery, 'F': kindFunction, 'c': kindCopyEnd, 'f': kindCopyEnd,
}

func (e entry) kind() entry    { return e & kindMask }
func (e entry) action() Action { return Action(e >> actionShift) }

func (r *Replies) front() entry { return r.ring[r.head] }

// drop takes the oldest entry off, and the CopyEnd marks that it uncovers.
func (r *Replies) drop() {
	r.dropOne()
	for r.size > 0 && r.front().kind() == kindCopyEnd {
		r.dropOne()
	}
}

func (r *Replies) dropOne() {
	r.head = (r.head + 1) & uint32(len(r.ring)-1)
	r.size--
	r.done++
}

func (r *Replies) push(e entry) {
	if int(r.size) == len(r.ring) {
		r.grow()
	}
	r.ring[(r.head+r.size)&uint32(len(r.ring)-1)] = e
	r.size++
}

func (r *Replies) grow() {
	bigger := make([]entry, max(16, 2*len(r.ring)))
	for i := range r.size {
		bigger[i] = r.ring[(r.head+i)&uint32(len(r.ring)-1)]
	}
	r.ring, r.head = bigger, 0
}
