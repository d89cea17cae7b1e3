package load

import (
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgvip/pgvip/bench/null"
	"github.com/pgvip/pgvip/wire"
)

// summary is the output of pgbench 15.
const summary = `pgbench (15.10 (Debian 15.10-0+deb12u1))
transaction type: <builtin: select only>
scaling factor: 10
query mode: prepared
number of clients: 16
number of threads: 2
maximum number of tries: 1
duration: 2 s
number of transactions actually processed: 46666
number of failed transactions: 0 (0.000%)
latency average = 0.685 ms
initial connection time = 16.064 ms
tps = 23366.310083 (without initial connection time)
`

func TestParseSummary(t *testing.T) {
	want := Result{Transactions: 46666, TPS: 23366.310083}
	if got, err := parse(summary); err != nil || got != want {
		t.Errorf("parse = %+v, %v; want %+v", got, err, want)
	}
	counted := strings.Replace(summary, "46666", "46666/46666", 1)
	if got, err := parse(counted); err != nil || got != want {
		t.Errorf("parse of a run with -t = %+v, %v; want %+v", got, err, want)
	}
}

func TestParseRefusesWhatMeasuresNothing(t *testing.T) {
	failed := strings.Replace(summary, "0 (0.000%)", "3 (0.006%)", 1)
	if _, err := parse(failed); !errors.Is(err, errFailed) {
		t.Errorf("failed transactions: %v, want errFailed", err)
	}
	for _, out := range []string{"", "pgbench: error: connection refused", "tps = 12.5"} {
		if r, err := parse(out); err == nil {
			t.Errorf("parse(%q) = %+v, want an error", out, r)
		}
	}
}

func TestArgs(t *testing.T) {
	p := Pgbench{Protocol: "prepared", Clients: 1, Duration: 3 * time.Second}
	if got := strings.Join(p.args(), " "); got != "-n -M prepared -c 1 -j 1 -S -T 3" {
		t.Errorf("args = %s", got)
	}
	p = Pgbench{Protocol: "simple", Clients: 2, Duration: time.Second, Rate: 500}
	if got := strings.Join(p.args(), " "); got != "-n -M simple -c 2 -j 2 -S -R 500 -T 1" {
		t.Errorf("args = %s", got)
	}
	p = Pgbench{Protocol: "simple", Clients: 16, Script: "x.sql", Transactions: 50}
	if got := strings.Join(p.args(), " "); got != "-n -M simple -c 16 -j 2 -f x.sql -t 50" {
		t.Errorf("args = %s", got)
	}
}

func TestPingAndIdleClients(t *testing.T) {
	s, err := null.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	who := Account{User: "app", Database: "app"}
	if err := Ping(t.Context(), s.Addr().String(), who); err != nil {
		t.Error(err)
	}
	idle, err := OpenIdle(t.Context(), s.Addr().String(), who, 100)
	if err != nil {
		t.Fatal(err)
	}
	defer idle.Close()
	if got := len(idle.conns); got != 100 {
		t.Errorf("%d idle clients, want 100", got)
	}
	if err := idle.Silent(); err != nil {
		t.Error(err)
	}
	s.Close() // ends every client
	if err := idle.Silent(); !errors.Is(err, io.EOF) && !errors.Is(err, unix.ECONNRESET) {
		t.Errorf("after the server's end: %v, want EOF", err)
	}
}

func TestLoginReportsTheServersError(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { // ends with the listener
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var b [1024]byte
		c.Read(b[:])
		c.Write(wire.Fatal(wire.CodeTooManyConnections, "sorry", "").Append(nil))
	}()
	_, err = OpenIdle(t.Context(), l.Addr().String(), Account{User: "a", Database: "b"}, 1)
	var pg *wire.Error
	if !errors.As(err, &pg) || pg.Code != wire.CodeTooManyConnections {
		t.Errorf("error %v, want SQLSTATE 53300", err)
	}
}
