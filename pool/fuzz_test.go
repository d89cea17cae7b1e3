package pool

import (
	"net"
	"sync"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
	"github.com/pgvip/pgvip/loop"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
	"go.uber.org/zap"
)

// nullServer lets everybody in, says on each connection what it is told to say,
// and closes.
type nullServer struct {
	listener net.Listener
	running  sync.WaitGroup

	mu  sync.Mutex
	say []byte // guarded by mu
}

func (n *nullServer) serve() {
	for {
		conn, err := n.listener.Accept()
		if err != nil {
			return
		}
		n.running.Go(func() {
			defer conn.Close()
			// The startup packet comes in one piece over the loopback.
			if _, err := conn.Read(make([]byte, 1024)); err != nil {
				return
			}
			n.mu.Lock()
			say := n.say
			n.mu.Unlock()
			conn.Write(append(append(append(append(pgscript.AuthOK(), pgscript.Statuses("off")...),
				pgscript.BackendKey(1, 2)...), pgscript.Ready('I')...), say...))
		})
	}
}

// FuzzServer feeds whatever a server may send to a pool with a client that has
// sent a query, or two batches: nothing panics or hangs, the client gets no more
// than was sent, and nothing of the server is left.
func FuzzServer(f *testing.F) {
	row := append(pgscript.Columns("x"), pgscript.Row("1")...)
	for _, b := range [][]byte{
		nil,
		append(append(row, pgscript.Complete("SELECT 1")...), pgscript.Ready('I')...),
		append(pgscript.Error("ERROR", "42601", "x"), pgscript.Ready('E')...),
		pgscript.Error("FATAL", "57P01", "x"),
		pgscript.Message('G', []byte{0, 0, 0}),
		append(pgscript.Message('1', nil), pgscript.Message('2', nil)...),
		append(pgscript.Status("TimeZone", "UTC"), pgscript.Complete("RESET")...),
		{'D', 0x7f, 0xff, 0xff, 0xff, 1, 2, 3},
		pgscript.Message('A', []byte("\x00\x00\x00\x01a\x00b\x00")),
	} {
		for _, mode := range []byte{0, 1, 2, 3, 7} {
			f.Add(mode, b)
		}
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	server := &nullServer{listener: listener}
	server.running.Go(server.serve)
	f.Cleanup(func() {
		listener.Close()
		server.running.Wait()
	})
	l, err := loop.New()
	if err != nil {
		f.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		l.Run()
		close(done)
	}()
	f.Cleanup(func() {
		l.Close()
		<-done
	})
	f.Fuzz(func(t *testing.T, mode byte, say []byte) {
		server.mu.Lock()
		server.say = say
		server.mu.Unlock()
		settings := usual()
		settings.ServerCheck, settings.ServerCheckDelay = mode&4 != 0, -1
		r := &rig{t: t, loop: l, set: NewSet(Options{Settings: settings, Loops: []*loop.Loop{l}, Log: zap.NewNop()})}
		r.pool = r.set.Pool(r.key(listener.Addr().String()), route.Replica)
		defer r.set.Close()
		b := r.borrower()
		if mode&1 != 0 {
			b.profile.Origin.Startup = []wire.Param{{Name: "TimeZone", Value: "UTC"}}
		}
		b.onLent = func(s *Server) {
			if mode&2 == 0 {
				s.Sent('Q')
				s.Send(pgscript.Query("SELECT 1"))
				return
			}
			for _, m := range [][]byte{parse, bind, execute, endBatch, parse, bind, execute, flush} {
				s.Sent(m[0])
				s.Send(m)
			}
		}
		r.do(func() { b.waiter = r.pool.Acquire(b) })
		r.eventually("the server is lost", func() bool {
			return len(r.pool.servers) == 0 && (len(b.calls) > 0 || r.pool.trouble)
		})
		r.do(func() {
			// Parameters of the login and of a lent server's are told besides.
			if len(b.got) > len(say)+1024 {
				t.Errorf("%d bytes for the client, of %d", len(b.got), len(say))
			}
			if b.waiter != nil {
				b.waiter.Leave()
			}
			r.pool.Retire(false)
		})
	})
}
