package proxy

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

const (
	// answerFresh is how long an answer counts without asking again: a storm of
	// logins costs one query a second for each user. Longer would be felt by who
	// has just been given a password.
	answerFresh = time.Second
	// stalePatience is how long a client whose last answer is known waits for a
	// newer one.
	stalePatience = time.Second
	// askTimeout bounds the query on one node, with the login if it takes one.
	askTimeout = 3 * time.Second

	// maxAnswers bounds the users whose answer is kept, and maxUnknown those who do
	// not exist, apart: names that anybody makes up must not push out what logins
	// need while no node can be asked.
	maxAnswers = 16384
	maxUnknown = 1024

	// longestName is NAMEDATALEN - 1: no role has a longer name.
	longestName = 63
)

// AuthQuery says how users are looked up who are not in the user list:
// PgBouncer's auth_query. The zero AuthQuery looks up nobody.
type AuthQuery struct {
	User       string // auth_user, whom its own connections log in as
	Credential auth.Credential
	SQL        string // $1 is the user's name; the answer is name and secret
	Database   string // where it is asked, by the name that clients use
}

// errUnreachable says that no node could be asked.
var errUnreachable = errors.New("no node answers auth_query")

// lookups asks for the secrets of users, and remembers the answers. The last one
// serves while no node can be asked (rule 17).
type lookups struct {
	proxy   *Proxy
	closing sync.WaitGroup // connections being closed

	// Guarded by mu.
	mu      sync.Mutex
	known   map[lookupKey]answer
	unknown map[lookupKey]time.Time // when it was said that they do not exist
	running map[lookupKey]*flight
	nodes   map[*route.Node]*askers
	trouble string // why the last question got no answer; empty if it did
	closed  bool
}

// lookupKey is all that an answer depends on.
type lookupKey struct{ authUser, sql, database, user string }

// answer is what is stored for a user, and when a server has said so.
type answer struct {
	secret auth.Secret
	at     time.Time
}

// flight is one question under way, for all who want to know.
type flight struct {
	done   chan struct{} // closed when the rest is there
	secret auth.Secret
	found  bool
	err    error
}

func newLookups(p *Proxy) *lookups {
	return &lookups{proxy: p, known: make(map[lookupKey]answer), unknown: make(map[lookupKey]time.Time),
		running: make(map[lookupKey]*flight), nodes: make(map[*route.Node]*askers)}
}

// find gives what is stored for a user, and whether there is one. It waits while
// no node can be asked and nothing is known. The error is for the client if it is
// a *wire.Error.
func (l *lookups) find(ctx context.Context, q *AuthQuery, user string) (auth.Secret, bool, error) {
	if len(user) > longestName {
		return auth.Secret{}, false, nil
	}
	key := lookupKey{q.User, q.SQL, q.Database, user}
	var limit <-chan time.Time // nil without a limit
	if d := l.proxy.settings.Load().FailoverWaitTimeout; d > 0 {
		limit = time.After(d)
	}
	for {
		changed := l.proxy.tableChange()
		secret, found, fresh := l.fresh(key, time.Now())
		if fresh {
			return secret, found, nil
		}
		last, has := l.last(key)
		f := l.start(key, q)
		if f == nil || !f.wait(ctx, has) || errors.Is(f.err, errUnreachable) {
			if has {
				return last, true, nil
			}
		} else {
			return f.secret, f.found, f.err
		}
		pause := time.NewTimer(welcomeRetry)
		select {
		case <-pause.C:
		case <-changed:
		case <-limit:
			return auth.Secret{}, false, nobodyToAsk("failover_wait_timeout")
		case <-ctx.Done():
			return auth.Secret{}, false, nobodyToAsk("client_login_timeout")
		}
		pause.Stop()
	}
}

func nobodyToAsk(limit string) *wire.Error {
	return wire.Fatal(wire.CodeCannotConnectNow, "no server could be asked about the user",
		"The limit is "+limit+" of pgvip, which looks up users by auth_query.")
}

// wait reports whether the answer came in time: who can do without does not wait
// for long.
func (f *flight) wait(ctx context.Context, can bool) bool {
	var enough <-chan time.Time
	if can {
		enough = time.After(stalePatience)
	}
	select {
	case <-f.done:
		return true
	case <-enough:
	case <-ctx.Done():
	}
	return false
}

// fresh gives an answer that need not be asked for again.
func (l *lookups) fresh(key lookupKey, now time.Time) (secret auth.Secret, found, fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.known[key]; ok && now.Sub(a.at) < answerFresh {
		return a.secret, true, true
	}
	at, ok := l.unknown[key]
	return auth.Secret{}, false, ok && now.Sub(at) < answerFresh
}

// last gives the last answer, however old.
func (l *lookups) last(key lookupKey) (auth.Secret, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, ok := l.known[key]
	return a.secret, ok
}

// doubt has a user asked for again at the next login: the password may have been
// changed since.
func (l *lookups) doubt(q *AuthQuery, user string) {
	key := lookupKey{q.User, q.SQL, q.Database, user}
	l.mu.Lock()
	defer l.mu.Unlock()
	if a, ok := l.known[key]; ok {
		a.at = time.Time{}
		l.known[key] = a
	}
}

// start joins the flight for key, or begins one; nil when all has ended.
func (l *lookups) start(key lookupKey, q *AuthQuery) *flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.running[key]; f != nil || l.closed {
		return f
	}
	f := &flight{done: make(chan struct{})}
	l.running[key] = f
	// Not the client's own goroutine: others must not lose by its leaving.
	l.proxy.running.Go(func() {
		f.secret, f.found, f.err = l.ask(q, key.user)
		l.learn(key, f, time.Now())
		close(f.done)
	})
	return f
}

// learn keeps what a flight has brought.
func (l *lookups) learn(key lookupKey, f *flight, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.running, key)
	l.report(f.err)
	switch {
	case f.err != nil:
		l.proxy.counters.AuthQueryErrors.Add(1)
	case f.found:
		makeRoom(l.known, maxAnswers)
		delete(l.unknown, key)
		l.known[key] = answer{f.secret, now}
	default:
		makeRoom(l.unknown, maxUnknown)
		delete(l.known, key)
		l.unknown[key] = now
	}
}

// report logs trouble once, and its end; mu is held. Who is refused for it stands
// in the log besides.
func (l *lookups) report(err error) {
	trouble := ""
	if err != nil {
		trouble = err.Error()
	}
	switch {
	case trouble == l.trouble:
		return
	case err != nil:
		l.proxy.log.Warn("users cannot be looked up", zap.Error(err), zap.Int("known", len(l.known)))
	default:
		l.proxy.log.Info("users can be looked up again")
	}
	l.trouble = trouble
}

// makeRoom drops any of a map's entries while it has as many as it may.
func makeRoom[V any](m map[lookupKey]V, limit int) {
	for victim := range m {
		if len(m) < limit {
			return
		}
		delete(m, victim)
	}
}

// ask puts the question to one node after the other, until one answers.
func (l *lookups) ask(q *AuthQuery, user string) (auth.Secret, bool, error) {
	l.proxy.counters.AuthQueries.Add(1)
	why := errors.New("there is no node")
	for _, node := range whomToAsk(l.proxy.table.Load()) {
		rows, err := l.query(node, q, user)
		if err == nil {
			return readAnswer(rows, user)
		}
		why = fmt.Errorf("%s: %w", node, err)
		if !elsewhere(err) {
			return auth.Secret{}, false, fmt.Errorf("auth_query: %w", why)
		}
	}
	return auth.Secret{}, false, fmt.Errorf("%w: %w", errUnreachable, why)
}

// whomToAsk lists the nodes that may know: the primary first, since a replica may
// not have heard of the newest password.
func whomToAsk(t *route.Table) []*route.Node {
	var nodes []*route.Node
	for _, n := range append([]*route.Node{t.Primary, t.Candidate}, t.Replicas...) {
		if n != nil {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// elsewhere reports whether another node may answer where this one did not.
func elsewhere(err error) bool {
	var own *wire.Error
	var missing *auth.SecretError
	switch {
	case errors.As(err, &own):
		switch own.Code {
		case wire.CodeCannotConnectNow, wire.CodeTooManyConnections, wire.CodeAdminShutdown, wire.CodeQueryCanceled, "57P02":
			return true
		}
		return false
	case errors.As(err, &missing):
		return false
	}
	return true
}

// readAnswer reads what auth_query gave: nothing, or a row of name and secret. A
// secret that is NULL lets nobody in by password: the default query gives it when
// a password is no longer valid (CVE-2025-2291).
func readAnswer(rows []dial.Row, user string) (auth.Secret, bool, error) {
	switch {
	case len(rows) == 0:
		return auth.Secret{}, false, nil
	case len(rows) > 1:
		return auth.Secret{}, false, fmt.Errorf("auth_query: gave %d rows, must give one", len(rows))
	case len(rows[0]) != 2:
		return auth.Secret{}, false, fmt.Errorf("auth_query: gave %d columns, must give two, name and secret", len(rows[0]))
	case rows[0][0].Null:
		// What a function without RETURNS SETOF gives when it has found nobody.
		return auth.Secret{}, false, nil
	case rows[0][0].Text != user:
		return auth.Secret{}, false, errors.New("auth_query: gave the secret of another user")
	}
	secret, err := auth.ParseSecret(rows[0][1].Text)
	if err != nil {
		return auth.Secret{}, false, fmt.Errorf("auth_query: %w", err)
	}
	return secret, true, nil
}
