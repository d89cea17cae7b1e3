package e2e

import (
	"context"
	"encoding/binary"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pgvip/pgvip/internal/corpus"
)

const (
	abusers  = 6
	mostKeys = 200 // that late cancels choose from

	// abuseLimit bounds one abuse on a busy machine.
	abuseLimit = 20 * time.Second
)

// keyring holds the cancel keys of clients that have left.
type keyring struct {
	mu   sync.Mutex
	keys [][2]uint32
}

// add takes the key out of a welcome.
func (k *keyring) add(welcome []byte) {
	for _, m := range corpus.Messages(welcome) {
		if m.Type == 'K' && len(m.Body) == 8 {
			k.mu.Lock()
			k.keys = append(k.keys, [2]uint32{binary.BigEndian.Uint32(m.Body), binary.BigEndian.Uint32(m.Body[4:])})
			k.keys = k.keys[max(0, len(k.keys)-mostKeys):]
			k.mu.Unlock()
		}
	}
}

func (k *keyring) any() (key [2]uint32, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.keys) == 0 {
		return key, false
	}
	return k.keys[rand.IntN(len(k.keys))], true
}

// cancelLate cancels in the name of clients that are gone: it must hit nobody.
// Talkers would see it as a difference.
func (r *randomRun) cancelLate(ctx context.Context) {
	for ctx.Err() == nil {
		if key, ok := r.keys.any(); ok && cancelRequest(r.pgvip.primary, key[0], key[1]) == nil {
			r.busy.Add(1)
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// abuse does to pgvip what crashing and hasty clients do.
func (r *randomRun) abuse(ctx context.Context, x *rand.Rand) {
	for ctx.Err() == nil {
		d := r.dialect
		d.state = d.blocks // in every mode that keeps a server for a transaction
		switch x.IntN(4) {
		case 0:
			r.cancelOne()
		default:
			r.leaveAnywhere(compose(x.Uint64(), d, 4), x)
		}
		r.abuses.Add(1)
	}
}

// leaveAnywhere says a conversation up to some byte of it, and is gone.
func (r *randomRun) leaveAnywhere(c chat, x *rand.Rand) {
	all, err := corpus.Parse("abuse", strings.NewReader(c.text("abuse")))
	if err != nil {
		r.Error(err)
		return
	}
	var said []byte
	for _, b := range all[0].Script {
		said = append(said, b.Client...)
	}
	conn, err := r.login()
	if err != nil {
		r.Error(err)
		return
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(abuseLimit))
	// What is left unread here makes the kernel reset the connection.
	go conn.Write(said[:x.IntN(len(said))])
	read := 0
	if x.IntN(2) == 0 {
		conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		read, _ = io.ReadAtLeast(conn, make([]byte, 10_000), 1)
	}
	tcp := conn.(*net.TCPConn)
	switch x.IntN(4) {
	case 0:
		tcp.SetLinger(0)
	case 1:
		tcp.CloseWrite()
		io.Copy(io.Discard, conn)
	case 2:
		if read > 0 {
			conn.Write([]byte("X\x00\x00\x00\x04"))
		}
	}
}

func (r *randomRun) login() (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.Context(), abuseLimit)
	defer cancel()
	conn, err := pgconn.Connect(ctx, corpusURL(r.pgvip.primary))
	if err != nil {
		return nil, err
	}
	raw, err := conn.Hijack()
	if err != nil {
		return nil, err
	}
	return raw.Conn, nil
}

// cancelOne cancels a query of its own, and goes on.
func (r *randomRun) cancelOne() {
	ctx, end := context.WithTimeout(r.Context(), abuseLimit)
	defer end()
	conn, err := pgx.Connect(ctx, corpusURL(r.pgvip.primary))
	if err != nil {
		r.Error(err)
		return
	}
	defer conn.Close(ctx)
	done := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT pg_sleep(60)")
		done <- err
	}()
	for {
		select {
		case err := <-done:
			if sqlstate(err) != queryCanceled {
				r.Errorf("a cancelled query ended with %v", err)
			} else if _, err := conn.Exec(ctx, "SELECT 1", pgx.QueryExecModeSimpleProtocol); err != nil {
				r.Errorf("after a cancelled query: %v", err)
			}
			return
		case <-time.After(10 * time.Millisecond):
			// It may come before the query, and does nothing then.
			if err := cancelRequest(r.pgvip.primary, conn.PgConn().PID(), secretKey(conn.PgConn())); err != nil {
				r.Error(err)
			}
		}
	}
}

// corpusURL names the user of conversations behind an address.
func corpusURL(addr string) string {
	t := corpusTarget(addr)
	return "postgres://" + t.User + ":" + strings.ReplaceAll(t.Password, " ", "%20") + "@" + addr + "/" + t.Database + "?sslmode=disable"
}
