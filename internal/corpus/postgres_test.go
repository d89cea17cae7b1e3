package corpus

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// binDir is where Debian keeps the server programs of PostgreSQL 15.
const binDir = "/usr/lib/postgresql/15/bin/"

// startPostgres runs a fresh PostgreSQL with the corpus database in it and
// returns how to reach it. Without the server programs the test is skipped.
func startPostgres(tb testing.TB) Target {
	tb.Helper()
	if _, err := os.Stat(binDir + "initdb"); err != nil {
		tb.Skip("PostgreSQL 15 is not installed")
	}
	dir := clusterDir(tb)
	initdb := serverProgram(tb, "initdb", "-D", dir, "-U", "postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "-N")
	if out, err := initdb.CombinedOutput(); err != nil {
		tb.Fatalf("initdb: %v\n%s", err, out)
	}
	hba := "local all all trust\nhost all postgres 127.0.0.0/8 trust\nhost all all 127.0.0.0/8 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(dir, "pg_hba.conf"), []byte(hba), 0o644); err != nil {
		tb.Fatal(err)
	}
	port := freePort(tb)
	options := fmt.Sprintf("-c listen_addresses=127.0.0.1 -c port=%d -c unix_socket_directories=%s -c fsync=off", port, dir)
	start := serverProgram(tb, "pg_ctl", "-D", dir, "-w", "-l", filepath.Join(dir, "log"), "-o", options, "start")
	if err := start.Run(); err != nil {
		log, _ := os.ReadFile(filepath.Join(dir, "log"))
		tb.Fatalf("pg_ctl start: %v\n%s", err, log)
	}
	tb.Cleanup(func() { serverProgram(tb, "pg_ctl", "-D", dir, "-m", "immediate", "stop").Run() })

	target := Target{Addr: net.JoinHostPort("127.0.0.1", strconv.Itoa(port)), User: "corpus", Password: "corpus secret", Database: "corpus"}
	cluster, database := Setup(target)
	runSQL(tb, port, "postgres", cluster)
	runSQL(tb, port, target.Database, database)
	return target
}

// clusterDir makes a directory that belongs to the user the server runs as.
func clusterDir(tb testing.TB) string {
	dir, err := os.MkdirTemp("", "corpus")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	if uid, gid, ok := serverAccount(); ok {
		if err := os.Chown(dir, uid, gid); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

// serverAccount is the account for the server: PostgreSQL refuses to be root.
func serverAccount() (uid, gid int, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return 0, 0, false
	}
	uid, _ = strconv.Atoi(u.Uid)
	gid, _ = strconv.Atoi(u.Gid)
	return uid, gid, true
}

func serverProgram(tb testing.TB, name string, args ...string) *exec.Cmd {
	cmd := exec.Command(binDir+name, args...)
	cmd.Dir = "/"
	if uid, gid, ok := serverAccount(); ok {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	}
	return cmd
}

func freePort(tb testing.TB) int {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func runSQL(tb testing.TB, port int, database string, statements []string) {
	tb.Helper()
	psql := exec.Command("psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-p", strconv.Itoa(port), "-U", "postgres", "-d", database)
	psql.Stdin = strings.NewReader(strings.Join(statements, ";\n") + ";\n")
	if out, err := psql.CombinedOutput(); err != nil {
		tb.Fatalf("psql: %v\n%s", err, out)
	}
}
