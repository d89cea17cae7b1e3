package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// lonely is a configuration whose etcd does not answer, and how to reach pgvip.
type lonely struct {
	file, address, socketDir string
}

func writeLonely(t *testing.T, more string) lonely {
	t.Helper()
	l := lonely{address: freeAddress(t), socketDir: t.TempDir()}
	l.file = writeConfig(t, fmt.Sprintf(`scope: demo
etcd:
  hosts: [%s]
listen:
  primary: %s
  replicas: ""
  admin: ""
  unix_socket_dir: %s
auth_file: users.txt
max_client_conn: 100
probe:
  user: pgvip
%s`, freeAddress(t), l.address, l.socketDir, more))
	return l
}

// socket is the path of the Unix socket.
func (l lonely) socket() string {
	_, port, _ := net.SplitHostPort(l.address)
	return filepath.Join(l.socketDir, ".s.PGSQL."+port)
}

func TestRunEndsWithOneWhenAPortIsInUse(t *testing.T) {
	t.Parallel()
	l := writeLonely(t, "")
	taken, err := net.Listen("tcp", l.address)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	c := startChild(t, l.file, "")
	c.ends(codeFailed)
	if want := "pgvip: listen on " + l.address + ": address already in use"; !strings.HasPrefix(c.printed(), want) {
		t.Errorf("pgvip printed %q, want it to begin with %q", c.printed(), want)
	}
}

func TestRunEndsWithTwoWhenItsFilesAreWrong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, config, users, want string }{
		{"configuration", "loops: -1\n", "", "loops: must be at least 0, is -1"},
		{"no user list", "", "-", "auth_file: open "},
		{"user list", "", "app secret\n", "users.txt: line 1: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := writeLonely(t, tt.config)
			users := filepath.Join(filepath.Dir(l.file), "users.txt")
			switch tt.users {
			case "":
			case "-":
				os.Remove(users)
			default:
				if err := os.WriteFile(users, []byte(tt.users), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c := startChild(t, l.file, "")
			c.ends(codeUsage)
			if printed := c.printed(); !strings.Contains(printed, tt.want) || strings.Count(printed, "\n") != 1 {
				t.Errorf("pgvip printed %q, want one line with %q", printed, tt.want)
			}
		})
	}
}

// What PgBouncer's operators send must not end pgvip.
func TestRunOutlivesSignalsThatDoNotStopIt(t *testing.T) {
	t.Parallel()
	l := writeLonely(t, "")
	c := startChild(t, l.file, "")
	c.says("pgvip is serving")
	c.signal(syscall.SIGHUP)
	c.says("reloaded")
	c.signal(syscall.SIGUSR1)
	c.says("SIGUSR1")
	c.signal(syscall.SIGUSR2)
	c.says("SIGUSR2")
	c.says("no news from etcd yet: clients wait")
	if _, err := os.Stat(l.socket()); err != nil {
		t.Error(err)
	}
	c.signal(syscall.SIGINT)
	c.ends(codeFine)
	if _, err := os.Stat(l.socket()); err == nil {
		t.Errorf("%s was left behind", l.socket())
	}
}

// The reader of the log, journald or a pipe, may die.
func TestRunOutlivesTheReaderOfItsLog(t *testing.T) {
	t.Parallel()
	l := writeLonely(t, "")
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	// Descriptor 3 is the write end; its only reader goes once pgvip serves.
	c := startChildWith(t, l.file, "exec >&3 3>&-", writer)
	writer.Close()
	buffer := make([]byte, 4096)
	if n, err := reader.Read(buffer); err != nil || !strings.Contains(string(buffer[:n]), "pgvip is serving") {
		t.Fatalf("log = %q, %v", buffer[:n], err)
	}
	reader.Close()
	c.signal(syscall.SIGHUP) // a line that nobody reads
	conn, err := net.Dial("unix", l.socket())
	if err != nil {
		t.Fatal(err)
	}
	// An SSLRequest is answered as long as pgvip lives.
	if _, err := conn.Write([]byte{0, 0, 0, 8, 4, 210, 22, 47}); err != nil {
		t.Error(err)
	}
	if n, err := conn.Read(buffer); err != nil || string(buffer[:n]) != "N" {
		t.Errorf("answer to an SSLRequest = %q, %v, want N", buffer[:n], err)
	}
	conn.Close()
	c.signal(syscall.SIGTERM)
	c.ends(codeFine)
}

func TestRunRaisesAndChecksTheDescriptorLimit(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, before string
		warns        bool
	}{
		{"soft", "ulimit -Sn 256", false},
		{"hard", "ulimit -Sn 256 && ulimit -Hn 1000", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := writeLonely(t, "")
			c := startChild(t, l.file, tt.before)
			c.says("pgvip is serving")
			c.signal(syscall.SIGTERM)
			c.ends(codeFine)
			if got := strings.Contains(c.printed(), "RLIMIT_NOFILE allows "); got != tt.warns {
				t.Errorf("warned: %t, want %t", got, tt.warns)
			}
		})
	}
}
