package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestImportWritesAFileThatCheckTakes(t *testing.T) {
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "pgbouncer.ini"), filepath.Join(dir, "pgvip.yaml")
	for path, text := range map[string]string{
		old: "[databases]\n* = host=db1\n[pgbouncer]\nauth_type = scram-sha-256\nauth_file = userlist.txt\n" +
			"query_wait_timeout = 5\nso_reuseport = 1\n",
		filepath.Join(dir, "userlist.txt"): "\"app\" \"secret\"\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	code, stdout, stderr := runLine("import", old, "-o", fresh)
	if code != codeFine || stdout != "" || !strings.Contains(stderr, old+":7: so_reuseport: is PgBouncer's: ") {
		t.Fatalf("import = %d, %q, %q; want %d and the line without a meaning named", code, stdout, stderr, codeFine)
	}
	if code, _, stderr := runLine("check", "-c", fresh); code != codeUsage || strings.Count(stderr, "is required") != 3 || strings.Count(stderr, "\n") != 3 {
		t.Errorf("check of the new file = %d, %q; want the three things that PgBouncer does not know", code, stderr)
	}
	data, err := os.ReadFile(fresh)
	if err != nil {
		t.Fatal(err)
	}
	filled := strings.NewReplacer("#scope", "scope", "#etcd", "etcd", "#  hosts", "  hosts", "#probe", "probe", "#  user", "  user").Replace(string(data))
	if err := os.WriteFile(fresh, []byte(filled), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runLine("check", "-c", fresh); code != codeFine {
		t.Errorf("check of the filled file = %d, %q, want %d", code, stderr, codeFine)
	}
	if code, _, _ := runLine("import", old, "-o", fresh); code != codeFailed {
		t.Errorf("import over a file = %d, want %d", code, codeFailed)
	}
	if after, err := os.ReadFile(fresh); err != nil || string(after) != filled {
		t.Errorf("import has written over a file: %v", err)
	}
}

func TestImportSaysWhatItCannotRead(t *testing.T) {
	code, stdout, stderr := runLine("import", "/none.ini")
	if code != codeUsage || stdout != "" || stderr != "pgvip: open /none.ini: no such file or directory\n" {
		t.Errorf("import of nothing = %d, %q, %q", code, stdout, stderr)
	}
}
