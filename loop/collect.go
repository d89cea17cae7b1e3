package loop

import "context"

// collectChunk is how many items are visited in one turn of a loop: a list of any
// length does not keep its sockets waiting.
const collectChunk = 64

// Collect visits items on the loops that they live on, and returns what visit has
// appended to its second argument. It waits for that until ctx ends; it is not for
// code on a loop. Between turns an item may move: visit has to look.
func Collect[T, R any](ctx context.Context, items []T, home func(T) *Loop, visit func(T, []R) []R) ([]R, error) {
	byLoop := make(map[*Loop][]T)
	for _, item := range items {
		l := home(item)
		byLoop[l] = append(byLoop[l], item)
	}
	parts := make(chan []R, len(byLoop))
	under := 0
	for l, list := range byLoop {
		c := &collector[T, R]{ctx: ctx, loop: l, rest: list, visit: visit, done: func(r []R) { parts <- r }}
		if l.Post(c.turn) == nil {
			under++
		}
	}
	var all []R
	for range under {
		select {
		case part := <-parts:
			all = append(all, part...)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return all, ctx.Err()
}

// collector visits the items of one loop.
type collector[T, R any] struct {
	ctx   context.Context
	loop  *Loop
	rest  []T
	visit func(T, []R) []R
	done  func([]R)
	found []R
}

// turn visits the next few items.
func (c *collector[T, R]) turn() {
	n := min(len(c.rest), collectChunk)
	if c.ctx.Err() != nil {
		n = 0
		c.rest = nil
	}
	for _, item := range c.rest[:n] {
		c.found = c.visit(item, c.found)
	}
	c.rest = c.rest[n:]
	if len(c.rest) == 0 || c.loop.Post(c.turn) != nil {
		c.done(c.found)
	}
}
