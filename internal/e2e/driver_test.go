package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/internal/lab"
)

// python is Debian's interpreter, whose packages the lab installs; another one
// first in PATH would not have them.
const python = "/usr/bin/python3"

// node is Debian's interpreter, or whichever stands first.
const node = "node"

// programLimit bounds one run of a client program.
const programLimit = 60 * time.Second

// port is one way to the database: a node itself, or pgvip in front of it.
type port struct {
	name     string
	addr     string
	readOnly bool
	// shared: nothing is to rely on session state between transactions. The direct
	// way has it too, so that the same is done on both.
	shared bool
}

// ports are the direct way and the way through pgvip, for writes and for reads.
func ports(t *testing.T, w way) (direct, through [2]port) {
	t.Helper()
	p := pgvipIn(t, w)
	leader, err := p.cluster.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	replica := replicaOf(p.cluster, leader)
	direct = [2]port{{"direct", leader.Postgres.Addr, false, w.shared}, {"direct", replica.Postgres.Addr, true, w.shared}}
	through = [2]port{{"5000", p.primary, false, w.shared}, {"5001", p.replicas, true, w.shared}}
	return direct, through
}

// sameOutput runs a program against a node and against pgvip, on the port for
// writes and on that for reads, and wants the same bytes from both.
func sameOutput(t *testing.T, w way, command func(port) *exec.Cmd) {
	t.Helper()
	direct, through := ports(t, w)
	for i := range direct {
		t.Run(through[i].name, func(t *testing.T) {
			want := output(t, command(direct[i]))
			got := output(t, command(through[i]))
			if len(want) == 0 {
				t.Error("the program printed nothing, so nothing was compared")
			}
			if !bytes.Equal(got, want) {
				t.Errorf("through pgvip:\n%s\ndirect:\n%s", got, want)
			}
		})
	}
}

// output is what a program prints on its standard output; it must succeed.
func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var stderr bytes.Buffer
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", filepath.Base(cmd.Path), err, out, &stderr)
	}
	return out
}

// program prepares a client program that finds its server in the environment,
// as libpq's do.
func program(t *testing.T, p port, name string, args ...string) *exec.Cmd {
	t.Helper()
	host, number, err := net.SplitHostPort(p.addr)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), programLimit)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(),
		"PGHOST="+host, "PGPORT="+number, "PGUSER="+lab.AppUser, "PGPASSWORD="+lab.AppPassword,
		"PGDATABASE="+lab.AppDatabase, "PGSSLMODE=disable", "LANG=C.UTF-8")
	return cmd
}

func script(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// driverWays are those in which drivers have to work with their own defaults.
func driverWays() []way { return []way{sessions(), transactions(), pinned()} }

func TestPsql(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		sameOutput(t, w, func(p port) *exec.Cmd {
			// Errors and notices go to standard error; the shell puts them in place.
			cmd := program(t, p, "sh", "-c", "exec psql -X -a -v VERBOSITY=verbose 2>&1")
			cmd.Stdin = bytes.NewReader(psqlScript(t, p))
			return cmd
		})
	}, driverWays()...)
}

// psqlScript is the part of psql.sql that fits a port.
func psqlScript(t *testing.T, p port) []byte {
	t.Helper()
	text := script(t, "psql.sql")
	if p.readOnly {
		text, _, _ = bytes.Cut(text, []byte("-- writes\n"))
	}
	if !p.shared {
		return text
	}
	before, rest, begins := bytes.Cut(text, []byte("-- state\n"))
	_, after, ends := bytes.Cut(rest, []byte("-- end of state\n"))
	if !begins || !ends {
		t.Fatal("psql.sql does not say what needs a session")
	}
	return append(before, after...)
}

func TestPsycopg2(t *testing.T) { sameScript(t, python, "-B", "use_psycopg2.py") }

func TestPsycopg3(t *testing.T) { sameScript(t, python, "-B", "use_psycopg3.py") }

func TestAsyncpg(t *testing.T) { sameScript(t, python, "-B", "use_asyncpg.py") }

func TestNodePostgres(t *testing.T) { sameScript(t, node, "use_pg.js") }

// sameScript runs a script of testdata, the last of the words, in each way.
func sameScript(t *testing.T, interpreter string, words ...string) {
	t.Helper()
	words[len(words)-1] = filepath.Join("testdata", words[len(words)-1])
	eachWay(t, func(t *testing.T, w way) {
		sameOutput(t, w, func(p port) *exec.Cmd {
			cmd := program(t, p, interpreter, append(words[:len(words):len(words)],
				map[bool]string{true: "read", false: "write"}[p.readOnly],
				map[bool]string{true: "shared", false: "own"}[p.shared])...)
			cmd.Env = append(cmd.Env, "NODE_PATH="+lab.NPM+"/node_modules")
			return cmd
		})
	}, driverWays()...)
}

// TestPgbench runs the three protocols on both ports, and pipelines, and checks
// that the sums of what was written agree afterwards.
func TestPgbench(t *testing.T) {
	_, through := ports(t, sessions())
	output(t, program(t, through[0], "pgbench", "-i", "-q", "-s", "1"))
	awaitReplicas(t, sharedPgvip(t).cluster)
	ways := driverWays()
	eachWay(t, func(t *testing.T, w way) {
		_, through := ports(t, w)
		for _, mode := range []string{"simple", "extended", "prepared"} {
			for _, p := range through {
				t.Run("select "+mode+" "+p.name, func(t *testing.T) {
					bench(t, p, "-S", "-n", "-M", mode, "-c", "8", "-j", "2", "-t", "100")
				})
			}
			t.Run("tpcb "+mode, func(t *testing.T) {
				bench(t, through[0], "-n", "-M", mode, "-c", "4", "-j", "2", "-t", "25")
			})
		}
		for _, mode := range []string{"extended", "prepared"} {
			t.Run("pipeline "+mode, func(t *testing.T) {
				bench(t, through[0], "-n", "-M", mode, "-f", "testdata/pipeline.pgbench", "-c", "8", "-j", "2", "-t", "25")
			})
		}
		t.Run("reconnecting", func(t *testing.T) {
			bench(t, through[0], "-S", "-n", "-C", "-c", "4", "-j", "2", "-t", "25")
		})
	}, ways...)
	sums := program(t, through[0], "psql", "-XAtc",
		"SELECT (SELECT sum(abalance) FROM pgbench_accounts) = sum(delta), count(*) FROM pgbench_history")
	if got, want := strings.TrimSpace(string(output(t, sums))), fmt.Sprintf("t|%d", 300*len(ways)); got != want {
		t.Errorf("sums agree and rows written: %s, want %s", got, want)
	}
}

// bench wants every transaction processed and none failed.
func bench(t *testing.T, p port, args ...string) {
	t.Helper()
	out := string(output(t, program(t, p, "pgbench", args...)))
	var clients, each int
	for i, a := range args[:len(args)-1] {
		switch a {
		case "-c":
			fmt.Sscan(args[i+1], &clients)
		case "-t":
			fmt.Sscan(args[i+1], &each)
		}
	}
	for _, want := range []string{
		fmt.Sprintf("number of transactions actually processed: %d/%d\n", clients*each, clients*each),
		"number of failed transactions: 0 (",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("pgbench %q does not say %q:\n%s", args, want, out)
		}
	}
}

// awaitReplicas waits until every replica has replayed what the leader has
// written.
func awaitReplicas(t *testing.T, c *lab.Cluster) {
	t.Helper()
	leader, err := c.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := replayed(t.Context(), c, leader); err != nil {
		t.Fatal(err)
	}
}
