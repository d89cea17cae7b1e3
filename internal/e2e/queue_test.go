package e2e

import (
	"context"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/pgvip/pgvip/internal/corpus"
)

const (
	crowd    = 1000 // clients at a time
	servers  = 20   // of the pool they share
	dialers  = 16   // logins at a time
	crowdFor = 60 * time.Second
)

// TestCrowdIsServedInOrder: 1,000 clients on 20 servers in session mode. Each
// asks for a number from a sequence; the numbers show the order of service.
func TestCrowdIsServedInOrder(t *testing.T) {
	p := pgvip(t, 7, settings{"default_pool_size": "20"})
	p.ready(t)
	ctx, cancel := context.WithTimeout(t.Context(), crowdFor)
	defer cancel()
	admin := connect(t, p.primary)
	for _, sql := range []string{"DROP SEQUENCE IF EXISTS crowd", "CREATE SEQUENCE crowd"} {
		if _, err := admin.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	admin.Close(ctx)

	conns := logIn(ctx, t, p.primary)
	numbers := make([]int, crowd)
	hold := make(chan struct{})
	var wg sync.WaitGroup
	for i, conn := range conns {
		// The next one asks when this one's request has been read, so that the
		// order of asking is certain.
		askNumber(t, conn)
		wg.Go(func() {
			defer conn.Conn.Close()
			numbers[i] = takeNumber(t, conn)
			// The first ones keep their servers until everybody is queued.
			if i < servers {
				<-hold
			}
			conn.Conn.Write([]byte("X\x00\x00\x00\x04"))
		})
	}
	close(hold)
	wg.Wait()

	judgeOrder(t, numbers)
}

// judgeOrder compares the order of service with that of asking. Twenty are
// served at a time, so that neighbours overtake each other on their way through
// PostgreSQL, and on a busy machine one of its processes may stand still for a
// while: twenty of them share two cores. That moves some clients back by tens of
// milliseconds; a queue out of order moves nearly all of them, and far.
func judgeOrder(t *testing.T, numbers []int) {
	t.Helper()
	far := 0
	for i, n := range numbers {
		if n == 0 {
			t.Errorf("client %d was not served", i+1)
		} else if distance := n - (i + 1); distance > 2*servers || distance < -2*servers {
			t.Logf("client %d was served as number %d", i+1, n)
			far++
		}
	}
	if far > crowd/10 {
		t.Errorf("%d of %d clients were served out of turn", far, crowd)
	}
}

// logIn opens the crowd's connections.
func logIn(ctx context.Context, t *testing.T, addr string) []*pgconn.HijackedConn {
	t.Helper()
	start := time.Now()
	conns := make([]*pgconn.HijackedConn, crowd)
	next := make(chan int)
	var wg sync.WaitGroup
	for range dialers {
		wg.Go(func() {
			for i := range next {
				conn, err := pgconn.Connect(ctx, url(addr))
				if err == nil {
					conns[i], err = conn.Hijack()
				}
				if err != nil {
					t.Errorf("client %d: %v", i+1, err)
				}
			}
		})
	}
	for i := range conns {
		next <- i
	}
	close(next)
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	t.Logf("%d logins in %v", crowd, time.Since(start))
	return conns
}

// askNumber sends the query and waits until pgvip has read it.
func askNumber(t *testing.T, conn *pgconn.HijackedConn) {
	t.Helper()
	conn.Conn.SetDeadline(time.Now().Add(crowdFor))
	conn.Frontend.SendQuery(&pgproto3.Query{String: "SELECT nextval('crowd')"})
	if err := conn.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := corpus.AwaitRead(conn.Conn.(*net.TCPConn)); err != nil {
		t.Fatal(err)
	}
}

// takeNumber reads the answer, 0 when there was none.
func takeNumber(t *testing.T, conn *pgconn.HijackedConn) (n int) {
	for {
		msg, err := conn.Frontend.Receive()
		if err != nil {
			t.Error(err)
			return 0
		}
		switch m := msg.(type) {
		case *pgproto3.DataRow:
			if n, err = strconv.Atoi(string(m.Values[0])); err != nil {
				t.Error(err)
			}
		case *pgproto3.ErrorResponse:
			t.Errorf("%s (%s)", m.Message, m.Code)
		case *pgproto3.ReadyForQuery:
			return n
		}
	}
}
