package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/config"
)

// good is a configuration without a fault, next to a users.txt with one user. It
// is small, so that it warns on no machine of too few descriptors.
const good = `scope: demo
etcd:
  hosts: [127.0.0.1:2379]
auth_file: users.txt
max_client_conn: 100
probe:
  user: pgvip
`

// writeConfig gives the path of a configuration in a folder of its own.
func writeConfig(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range map[string]string{"pgvip.yaml": text, "users.txt": "\"app\" \"secret\"\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "pgvip.yaml")
}

func runLine(args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	code = execute(args, &out, &err)
	return code, out.String(), err.String()
}

func TestExitCodes(t *testing.T) {
	ok := writeConfig(t, good)
	broken := writeConfig(t, "scope: demo\nloops: -1\n")
	tests := []struct {
		name string
		args []string
		code int
		// stderr is what its only line holds; "" is no line at all.
		stderr string
	}{
		{"version", []string{"version"}, codeFine, ""},
		{"good configuration", []string{"check", "-c", ok}, codeFine, ""},
		{"no command", nil, codeUsage, "a command is missing"},
		{"unknown command", []string{"frobnicate"}, codeUsage, `unknown command "frobnicate"`},
		{"mistyped command", []string{"chek"}, codeUsage, "did you mean check?"},
		{"unknown flag", []string{"check", "--colour"}, codeUsage, "unknown flag: --colour"},
		{"flag without value", []string{"check", "-c"}, codeUsage, "flag needs an argument"},
		{"argument too many", []string{"version", "now"}, codeUsage, `unknown command "now"`},
		{"no such file", []string{"check", "-c", ok + ".not"}, codeUsage, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, _, stderr := runLine(tt.args...)
			if code != tt.code {
				t.Errorf("exit code = %d, want %d; stderr %q", code, tt.code, stderr)
			}
			if lines := strings.Count(stderr, "\n"); (tt.stderr == "" && lines != 0) || (tt.stderr != "" && lines != 1) {
				t.Errorf("stderr has %d lines: %q", lines, stderr)
			}
			if !strings.Contains(stderr, tt.stderr) {
				t.Errorf("stderr = %q, want it to hold %q", stderr, tt.stderr)
			}
		})
	}
	t.Run("broken configuration", func(t *testing.T) {
		code, stdout, stderr := runLine("check", "-c", broken)
		if code != codeUsage || stdout != "" {
			t.Errorf("check = %d with stdout %q, want %d with none", code, stdout, codeUsage)
		}
		if want := broken + ":2:8: loops: must be at least 0, is -1\n"; !strings.Contains(stderr, want) {
			t.Errorf("stderr = %q, want a line %q", stderr, want)
		}
		// loops, etcd.hosts, probe.user and auth_file: all at once.
		if lines := strings.Count(stderr, "\n"); lines != 4 {
			t.Errorf("stderr has %d lines, want 4: %q", lines, stderr)
		}
	})
}

func TestExitCodeOfACommandsOwnErrors(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want int
	}{
		{"none", nil, codeFine},
		{"its work", errors.New("listen 127.0.0.1:5000: address already in use"), codeFailed},
		{"configuration", fmt.Errorf("reload: %w", config.Faults{{Text: "is required"}}), codeUsage},
		{"its own choice", fmt.Errorf("demo: %w", &exitError{codeUsage, errSaid}), codeUsage},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			sub := &cobra.Command{RunE: func(*cobra.Command, []string) error { return tt.err }}
			root := &cobra.Command{}
			root.AddCommand(sub)
			markFailures(root)
			if got := exitCode(sub.RunE(sub, nil)); got != tt.want {
				t.Errorf("exit code of %v = %d, want %d", tt.err, got, tt.want)
			}
		})
	}
}

func TestCheckPrintsSummaryOfGoodConfiguration(t *testing.T) {
	path := writeConfig(t, good)
	_, stdout, _ := runLine("check", "-c", path)
	for _, want := range []string{path + ": ok\n", "/service/demo in etcd 127.0.0.1:2379", "*:5000", "scram-sha-256, 1 in "} {
		if !strings.Contains(stdout, want) {
			t.Errorf("check printed %q, want it to hold %q", stdout, want)
		}
	}
}

// TestCheckKnowsTheSources: each is summed up by what it needs, and their
// certificates are read.
func TestCheckKnowsTheSources(t *testing.T) {
	const rest = "scope: demo\nauth_file: users.txt\nprobe: {user: pgvip}\n"
	for _, tt := range []struct{ name, config, want string }{
		{"patroni", "source: patroni\npatroni: {hosts: ['10.0.0.1:8008', 'pg2:8008']}\n", "demo by Patroni on 10.0.0.1:8008, pg2:8008\n"},
		{"static", "source: static\nstatic: {servers: {b: {address: 'h:2'}, a: {address: 'h:1'}}}\n", "demo without Patroni: a h:1 b h:2\n"},
		{"etcd without its CA", "etcd: {hosts: ['h:1'], protocol: https, cacert: none.crt}\n", "etcd: certificate authority: "},
		{"Patroni without its certificate", "etcd: {hosts: ['h:1']}\npatroni_api: {cert: none.crt, key: none.key}\n", "patroni_api: certificate "},
	} {
		_, stdout, stderr := runLine("check", "-c", writeConfig(t, rest+tt.config))
		if !strings.Contains(stdout+stderr, tt.want) {
			t.Errorf("%s: check printed %q and %q, want %q", tt.name, stdout, stderr, tt.want)
		}
	}
}

func TestCheckReadsTheUserList(t *testing.T) {
	path := writeConfig(t, good)
	users := filepath.Join(filepath.Dir(path), "users.txt")
	if err := os.WriteFile(users, []byte("not a user list\n\"app\" \"x\"\n\"half\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := runLine("check", "-c", path)
	if code != codeUsage || strings.Count(stderr, users+": line ") != 2 {
		t.Errorf("check of a broken list = %d with %q, want %d and a line for each of two faults", code, stderr, codeUsage)
	}
	if err := os.Remove(users); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runLine("check", "-c", path); code != codeUsage || !strings.Contains(stderr, "auth_file: open ") {
		t.Errorf("check without its list = %d with %q, want %d and auth_file named", code, stderr, codeUsage)
	}
}

func TestCheckReadsCertificates(t *testing.T) {
	path := writeConfig(t, good+"client_tls_sslmode: require\nclient_tls_cert_file: server.crt\nclient_tls_key_file: server.key\n")
	os.Remove(filepath.Join(filepath.Dir(path), "users.txt"))
	code, _, stderr := runLine("check", "-c", path)
	if code != codeUsage || !strings.Contains(stderr, "client_tls_sslmode: certificate ") || !strings.Contains(stderr, "auth_file: open ") {
		t.Errorf("check without its files = %d with %q, want %d and both named", code, stderr, codeUsage)
	}
}

func TestCheckJSON(t *testing.T) {
	code, stdout, stderr := runLine("check", "--json", "-c", writeConfig(t, "scope: demo\nloops: -1\n"))
	var got struct {
		OK     bool
		Faults []struct {
			Line int
			Path string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if code != codeUsage || stderr != "" || got.OK || len(got.Faults) != 4 {
		t.Errorf("check --json = %d, stderr %q, %+v; want %d, none and four faults", code, stderr, got, codeUsage)
	}
	if last := got.Faults[len(got.Faults)-1]; last.Line != 2 || last.Path != "loops" {
		t.Errorf("last fault = %+v, want loops in line 2", last)
	}
}

func TestVersionJSON(t *testing.T) {
	_, stdout, _ := runLine("version", "--json")
	var got buildFacts
	if err := json.Unmarshal([]byte(stdout), &got); err != nil {
		t.Fatal(err)
	}
	if got.Version != version || got.Go == "" || got.Platform == "" {
		t.Errorf("version --json = %+v, want version %q, a Go version and a platform", got, version)
	}
}
