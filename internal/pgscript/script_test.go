package pgscript

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/jackc/pgproto3/v2"
)

func TestClientAndServerPlayTogether(t *testing.T) {
	release := make(chan struct{})
	server := Serve(t,
		AcceptLogin(),
		Expect("Q"), ExpectBody("SELECT 1"),
		SendSplit(1, Columns("?column?"), Row("1")),
		Wait(release),
		Send(Complete("SELECT 1"), Ready('I')),
		Expect("X"), ExpectEOF(),
	)
	client := Dial(t, server.Addr)
	client.Play(Login("app", "app"), Send(Query("SELECT 1")), Expect("TD"), ExpectBody("1"))
	close(release)
	client.Play(Expect("CZ"), Send(Terminate()), CloseWrite())
}

func TestAPeerThatLeavesTheScriptFails(t *testing.T) {
	for _, test := range []struct {
		name   string
		script Step
		sends  []byte
		want   string
	}{
		{"another type", Expect("P"), Query("x"), `got 'Q' "x\x00"`},
		{"another body", Steps(Expect("Q"), ExpectBody("y")), Query("x"), `is without "y"`},
		{"other bytes", ExpectBytes([]byte("abc")), []byte("abd"), `got "abd", want "abc"`},
		{"half a message", Expect("Q"), Query("x")[:3], "unexpected EOF"},
		{"a message without its body", Expect("Q"), []byte{'Q', 0, 0, 0, 9}, "EOF"},
		{"a length below itself", Expect("Q"), []byte{'Q', 0, 0, 0, 3}, "message length 3"},
		{"a length without end", Expect("Q"), []byte{'Q', 0xff, 0, 0, 0}, "message length"},
		{"nothing", ExpectUntil('Z'), Ready('I')[:0], "EOF"},
		{"more than the end", ExpectEOF(), []byte("x"), `got "x"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			ours, theirs := net.Pipe()
			go func() {
				theirs.Write(test.sends)
				theirs.Close()
			}()
			err := (&Conn{Conn: ours}).play([]Step{test.script})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %s", err, test.want)
			}
		})
	}
}

func TestResetIsNoOrderlyClose(t *testing.T) {
	server := Serve(t, ExpectStartup(), Reset())
	client := Dial(t, server.Addr)
	if err := client.play([]Step{Send(CancelRequest(1, 2)), ExpectEOF()}); err == nil {
		t.Error("a reset passed for an orderly close")
	}
	client = Dial(t, server.Addr)
	client.Play(Send(CancelRequest(1, 2)), ExpectGone())
}

// TestCancelRequestInsteadOfALogin ends a script that would wait for a session.
func TestCancelRequestInsteadOfALogin(t *testing.T) {
	server := Serve(t, AcceptLogin(), Expect("Q"))
	Dial(t, server.Addr).Play(Send(CancelRequest(1, 2)), ExpectEOF())
}

func TestEachConnectionHasItsScript(t *testing.T) {
	server := ServeEach(t, Send([]byte("a")), Send([]byte("b")))
	for _, want := range []string{"a", "b"} {
		Dial(t, server.Addr).Play(ExpectBytes([]byte(want)), ExpectEOF())
	}
}

// pgproto3 is the second opinion on what the builders build.
func TestServerMessagesDecode(t *testing.T) {
	var stream []byte
	for _, m := range [][]byte{
		AuthOK(), Statuses("off"), BackendKey(7, 8), Ready('T'), Columns("a", "b"), Row("1", ""),
		Complete("SELECT 1"), Error("FATAL", "57P01", "going down"),
	} {
		stream = append(stream, m...)
	}
	var again []byte
	front := pgproto3.NewFrontend(pgproto3.NewChunkReader(bytes.NewReader(stream)), nil)
	for len(again) < len(stream) {
		m, err := front.Receive()
		if err != nil {
			t.Fatal(err)
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok && (e.Code != "57P01" || e.Message != "going down") {
			t.Errorf("ErrorResponse is %+v", e)
		}
		if again, err = m.Encode(again); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(again, stream) {
		t.Errorf("got %q\nwant %q", again, stream)
	}
}

func TestClientMessagesDecode(t *testing.T) {
	stream := append(Startup("user", "app"), append(Query("SELECT 1"), Terminate()...)...)
	back := pgproto3.NewBackend(pgproto3.NewChunkReader(bytes.NewReader(stream)), nil)
	startup, err := back.ReceiveStartupMessage()
	if m, ok := startup.(*pgproto3.StartupMessage); err != nil || !ok || m.Parameters["user"] != "app" {
		t.Fatalf("startup is %+v, %v", startup, err)
	}
	query, err := back.Receive()
	if m, ok := query.(*pgproto3.Query); err != nil || !ok || m.String != "SELECT 1" {
		t.Errorf("query is %+v, %v", query, err)
	}
	if m, err := back.Receive(); err != nil {
		t.Errorf("terminate is %+v, %v", m, err)
	}
}
