package statement

// op is what the answer to a message changes.
type op struct {
	pos     uint64 // number of the message
	kind    opKind
	known   *known  // the server's side; nil for none
	client  *Client // the client's side; nil for none
	entry   *entry
	stmt    *Statement // that entry is to name; the op has a reference to it
	name    string     // of a duplicate, as the client wrote it
	unnamed *unnamed   // the client's
	version uint64     // of the unnamed statement
	hollow  bool       // of a Parse: what it makes only stands in for the statement
	told    bool       // the server has said that it did it, or that it was done before
}

type opKind uint8

const (
	opParse opKind = iota
	opClose
	opDuplicate    // a Parse that is to fail
	opDeallocate   // a Query
	opParseUnnamed // a client's, or ours where unnamed is nil
	opDropUnnamed
)

// outcome is what became of a message.
type outcome uint8

const (
	skipped outcome = iota // after an error before it
	failed
	done
)

func (s *Server) push(o op) {
	if s.first == len(s.ops) {
		s.ops, s.first = s.ops[:0], 0
	}
	s.ops = append(s.ops, o)
}

func (s *Server) pop() op {
	o := s.ops[s.first]
	s.ops[s.first] = op{}
	s.first++
	return o
}

// front is what the next answer changes, nil for nothing.
func (s *Server) front() *op {
	if s.first < len(s.ops) && s.ops[s.first].pos == s.replies.Done()+1 {
		return &s.ops[s.first]
	}
	return nil
}

// Got notes an answer of this type, one made up included. before is what
// replies.Done was before it saw that answer.
func (s *Server) Got(typ byte, before uint64) {
	s.described(typ, before)
	for s.first < len(s.ops) && s.ops[s.first].pos <= s.replies.Done() {
		o := s.pop()
		s.settle(o, outcomeOf(typ, &o, o.pos == before+1))
	}
}

// outcomeOf judges by the answer that ended a message, or by that to another one
// with which it was dealt with.
func outcomeOf(typ byte, o *op, its bool) outcome {
	switch {
	case typ == '1' && its, typ == '3' && its:
		return done
	case typ == 'Z' && (o.kind == opDropUnnamed || o.told):
		return done // a Query, answered with ReadyForQuery
	case typ == 'E' && its:
		return failed
	}
	return skipped
}

// settle makes an operation count, or not.
func (s *Server) settle(o op, how outcome) {
	if o.entry != nil {
		o.client.answered(s.store, o.entry, o.stmt, how == done)
	}
	switch o.kind {
	case opParse:
		s.settleParse(o, how)
	case opClose:
		if o.known != nil {
			s.answered(o.known, false, how == done)
		}
	case opDuplicate:
		if how == done && o.known != nil {
			o.known.stale = true // it was not there, and is now with a text not its own
		}
	case opDeallocate:
		s.answered(o.known, false, how == done)
		if how != done {
			o.known.stale = true // perhaps with no text
		}
	case opParseUnnamed, opDropUnnamed:
		s.settleUnnamed(o, how)
	}
}

func (s *Server) settleParse(o op, how outcome) {
	if o.known == nil {
		return
	}
	if how == failed && o.told {
		// Somebody prepared this name without our knowledge, who knows as what.
		s.answered(o.known, true, true)
		o.known.stale = true
		return
	}
	s.answered(o.known, true, how == done)
	if o.hollow {
		o.known.hollow = false
		o.known.stale = o.known.present
	}
}

// settleUnnamed: a failed Parse has dropped the old statement as well.
func (s *Server) settleUnnamed(o op, how outcome) {
	version := o.version
	if how == failed {
		version = 0
	}
	if how != skipped {
		s.unnamed = version
	}
	if o.unnamed == nil {
		return
	}
	o.unnamed.pending--
	if how != skipped {
		o.unnamed.version = version
	}
}
