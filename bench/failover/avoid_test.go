package failover

import (
	"net"
	"os"
	"testing"
)

// TestConnectionsAreFound: the check of an orphan's connections sees one of our
// own, and sees that it is gone.
func TestConnectionsAreFound(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	port := conn.LocalAddr().(*net.TCPAddr).Port
	if got, err := connections(os.Getpid(), l.Addr().String()); err != nil || len(got) != 1 || got[0] != port {
		t.Errorf("connections = %d, %v, want %d", got, err, port)
	}
	conn.Close()
	if got, err := connections(os.Getpid(), l.Addr().String()); err != nil || len(got) != 0 {
		t.Errorf("connections after Close = %d, %v, want none", got, err)
	}
}

func TestStatementsAreFoundInTheLog(t *testing.T) {
	text := "2026-11-27 00:50:43.498 UTC [12722] app@app LOG:  statement: INSERT INTO failover_ledger VALUES ('session', 7)\n" +
		"2026-11-27 00:50:43.598 UTC [12722] app@app LOG:  statement: SELECT 1\n"
	if m := statementOf("session").FindStringSubmatch(text); m == nil || m[1] != "2026-11-27 00:50:43.498" {
		t.Errorf("found %q, want the first line's time", m)
	}
	if statementOf("transaction").MatchString(text) {
		t.Error("found a statement of a front that sent none")
	}
}
