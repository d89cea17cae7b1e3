package statement

// Client is the prepared statements as one client knows them. The zero value is
// a client that has none. It lives on the loop of its session.
type Client struct {
	store   *Store // nil before the first statement and between two loops
	names   map[string]*entry
	unnamed unnamed
}

// entry is one name of a client's.
type entry struct {
	name    string     // at most maxName bytes of it
	stmt    *Statement // as of the last answer; nil for none
	next    *Statement // once what is under way has been answered
	pos     uint64     // number of the last message under way
	pending int        // how many are
	gone    bool       // the client is, or has moved
}

// Len is the number of the client's named statements.
func (c *Client) Len() int { return len(c.names) }

// Close forgets everything: the client is gone.
func (c *Client) Close() {
	for _, e := range c.names {
		e.gone = true
		if e.stmt != nil && c.store != nil {
			c.store.release(e.stmt)
		}
	}
	c.names = nil
	c.unnamed = unnamed{}
}

// Leave takes the client off its loop, with nothing under way; it goes on with
// the next server that it is lent, on any loop.
func (c *Client) Leave() {
	if c.store == nil {
		return
	}
	for _, e := range c.names {
		c.store.release(e.stmt)
	}
	c.store = nil
	c.unnamed.leave()
}

// join makes t the client's store.
func (c *Client) join(t *Store) {
	if c.store == t {
		return
	}
	if c.store != nil {
		panic("BUG: a client of another loop")
	}
	c.store = t
	for _, e := range c.names {
		mark := e.stmt.mark
		e.stmt = t.add(e.stmt.identity)
		e.stmt.mark = mark
	}
	c.unnamed.join(t)
}

// entry gives the entry for a name, a new one if need be.
func (c *Client) entry(name []byte) *entry {
	e := c.names[string(key(name))]
	if e == nil {
		e = &entry{name: string(key(name))}
		if c.names == nil {
			c.names = make(map[string]*entry)
		}
		c.names[e.name] = e
	}
	return e
}

// await notes that once message pos has been answered, e is to name st.
func (e *entry) await(pos uint64, st *Statement) {
	e.next, e.pos = st, pos
	e.pending++
}

// answered ends what await began. The reference to st becomes e's.
func (c *Client) answered(t *Store, e *entry, st *Statement, done bool) {
	e.pending--
	switch {
	case e.gone && st != nil, !done && st != nil:
		t.release(st)
	case done && !e.gone:
		if e.stmt != nil {
			t.release(e.stmt)
		}
		e.stmt = st
	}
	if e.stmt == nil && e.pending == 0 && !e.gone {
		delete(c.names, e.name)
	}
}

// clear forgets the named statements, as DEALLOCATE ALL does. What is under way
// comes after it.
func (c *Client) clear() {
	for name, e := range c.names {
		if e.stmt != nil {
			c.store.release(e.stmt)
			e.stmt = nil
		}
		if e.pending == 0 {
			delete(c.names, name)
		}
	}
}
