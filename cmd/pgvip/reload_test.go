package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
)

// appendTo adds lines to the configuration.
func (l lonely) appendTo(t *testing.T, text string) {
	t.Helper()
	f, err := os.OpenFile(l.file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestReloadOfABrokenFileNamesEachFaultAndChangesNothing(t *testing.T) {
	t.Parallel()
	l := writeLonely(t, "")
	c := startChild(t, l.file, "")
	c.says("pgvip is serving")
	l.appendTo(t, "\nlog: {level: debug}\nloops: -1\nquery_timeout: 5\n")
	c.signal(syscall.SIGHUP)
	c.says("reload: nothing has changed")
	c.wants("reload: " + l.file + ":15:8: loops: must be at least 0, is -1")
	c.wants("reload: " + l.file + `:16:16: query_timeout: must have a unit, is 5: write "5s" or "5ms"`)
	c.signal(syscall.SIGTERM)
	c.ends(codeFine)
	if strings.Contains(c.printed(), "reloaded") || strings.Contains(c.printed(), "debug") {
		t.Error("pgvip took something of a broken file")
	}
}

func TestReloadOfABrokenUserListChangesNothing(t *testing.T) {
	t.Parallel()
	l := writeLonely(t, "")
	c := startChild(t, l.file, "")
	c.says("pgvip is serving")
	l.appendTo(t, "\nquery_timeout: 5s\n")
	if err := os.WriteFile(filepath.Join(filepath.Dir(l.file), "users.txt"), []byte("app secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGHUP)
	c.says("reload: nothing has changed")
	c.wants("users.txt: line 1: ")
	c.signal(syscall.SIGTERM)
	c.ends(codeFine)
}

func TestReloadSaysWhatHasChangedAndWhatNeedsARestart(t *testing.T) {
	t.Parallel()
	l := writeLonely(t, "")
	c := startChild(t, l.file, "")
	c.says("pgvip is serving")
	text, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), "scope: demo", "scope: other", 1) +
		"\nquery_timeout: 5s\ntcp_keepidle: 20s\nlisten_backlog: 99\nverbose: 1\ndatabases: {app: {pool_size: 1}}\n")
	if err := os.WriteFile(l.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	c.signal(syscall.SIGHUP)
	c.says("reloaded")
	c.wants(`reload: scope needs a restart to change	{"running": "demo", "file": "other"}`)
	c.wants(`"changed": ["query_timeout", "listen_backlog", "tcp_keepidle", "verbose", "databases.app"], "users": 1`)
	c.signal(syscall.SIGTERM)
	c.ends(codeFine)
}

// newTestNode is a node that does not serve, of a configuration in its file.
func newTestNode(t *testing.T, l lonely) *node {
	t.Helper()
	in, err := readInputs(l.file)
	if err != nil {
		t.Fatal(err)
	}
	n, err := newNode(in, zap.NewNop(), zap.NewAtomicLevel())
	if err != nil {
		t.Fatal(err)
	}
	n.start()
	t.Cleanup(func() { n.stop(t.Context()) })
	return n
}

func TestSetLastsUntilTheNextReload(t *testing.T) {
	n := newTestNode(t, writeLonely(t, "default_pool_size: 3\n"))
	for _, step := range []struct {
		do   func() error
		want int
	}{
		{func() error { return n.Set("default_pool_size", "7") }, 7},
		{func() error { return n.Set("log.level", "debug") }, 7},
		{n.Reload, 3},
	} {
		if err := step.do(); err != nil {
			t.Fatal(err)
		}
		if got := n.config().DefaultPoolSize; got != step.want {
			t.Errorf("default_pool_size = %d, want %d", got, step.want)
		}
	}
}

func TestSetChecksTheFileThatItNames(t *testing.T) {
	n := newTestNode(t, writeLonely(t, ""))
	before := n.inputs.Load()
	if err := n.Set("auth_file", "none.txt"); err == nil || !strings.Contains(err.Error(), "none.txt: no such file") {
		t.Errorf("Set = %v, want an error that names the file", err)
	}
	if err := n.Set("pool_mode", "fast"); err == nil || !strings.HasPrefix(err.Error(), "pool_mode: ") {
		t.Errorf("Set = %v, want an error that names the key", err)
	}
	if n.inputs.Load() != before {
		t.Error("a failed Set has changed something")
	}
}

func TestLogLevelIsThatOfTheFileOrOfVerbose(t *testing.T) {
	for _, tt := range []struct {
		log  config.Log
		want string
	}{
		{config.Log{Level: "warn"}, "warn"},
		{config.Log{Level: "warn", Verbose: 1}, "debug"},
		{config.Log{Level: "debug"}, "debug"},
	} {
		if got := logLevel(tt.log).String(); got != tt.want {
			t.Errorf("level of %+v = %s, want %s", tt.log, got, tt.want)
		}
	}
}
