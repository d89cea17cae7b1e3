package main

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/route"
)

// questions puts a table's questions to Patroni, one at a time to each node, so that
// control never waits for one. Its fields are control.Run's; only the questions
// themselves are on goroutines of their own.
type questions struct {
	ask     func(ctx context.Context, url string) route.RESTAnswer // nil: nobody is asked
	said    chan said                                              // never closed: senders end with their context
	busy    map[string]bool
	answers route.Answers
}

// said is one answer.
type said struct {
	node   string
	answer route.RESTAnswer
}

// put asks what the table wants to know by now. The goroutines end with ctx, or
// with their question, and are waited for by running.
func (q *questions) put(ctx context.Context, asks []route.Ask, now time.Time, running func(func())) {
	for _, one := range asks {
		if q.ask == nil || q.busy[one.Node] || now.Before(one.Since) {
			continue
		}
		q.busy[one.Node] = true
		running(func() {
			limit, cancel := context.WithDeadline(ctx, one.Until)
			answer := q.ask(limit, one.URL)
			cancel()
			select {
			case q.said <- said{one.Node, answer}:
			case <-ctx.Done():
			}
		})
	}
}

// took notes an answer. The map is replaced, since a Build may still hold it.
func (q *questions) took(s said) {
	delete(q.busy, s.node)
	next := make(route.Answers, len(q.answers)+1)
	for name, old := range q.answers {
		next[name] = old
	}
	next[s.node] = s.answer
	q.answers = next
}
