package lab

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestLonePostgres(t *testing.T) {
	t.Parallel()
	pg := StartPostgresT(t, PostgresOptions{Parameters: map[string]string{"max_connections": "33"}})

	t.Run("has the roles", func(t *testing.T) {
		for role, prefix := range map[string]string{
			AppUser: "SCRAM-SHA-256$4096:", ProbeUser: "SCRAM-SHA-256$4096:", MD5User: "md5",
		} {
			verifier, err := pg.Verifier(t.Context(), role)
			if err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(verifier, prefix) {
				t.Errorf("verifier of %s is %q, want prefix %q", role, verifier, prefix)
			}
		}
	})
	t.Run("has the parameters", func(t *testing.T) {
		if got, err := pg.SQL(t.Context(), AppDatabase, "SHOW max_connections"); got != "33" || err != nil {
			t.Errorf("max_connections = %q, %v, want 33", got, err)
		}
	})
	t.Run("is back after a crash", func(t *testing.T) {
		before := pg.PID()
		if err := pg.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		if pg.PID() == before || !pg.Running() {
			t.Errorf("process %d after restart, was %d", pg.PID(), before)
		}
		if got, err := pg.SQL(t.Context(), AppDatabase, "SELECT 1"); got != "1" || err != nil {
			t.Errorf("SELECT 1 = %q, %v", got, err)
		}
	})
}

// TestPostgres18 speaks what 15 does not: protocol 3.2 and TLS without asking.
func TestPostgres18(t *testing.T) {
	t.Parallel()
	pg := StartPostgresT(t, PostgresOptions{Version: 18, TLS: true})
	got, err := pg.SQL(t.Context(), AppDatabase, "SELECT current_setting('server_version_num')::int / 10000")
	if got != "18" || err != nil {
		t.Errorf("version %q, %v, want 18", got, err)
	}
	config := &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"postgresql"}}
	conn, err := (&tls.Dialer{Config: config}).DialContext(t.Context(), "tcp", pg.Addr)
	if err != nil {
		t.Fatal("direct TLS:", err)
	}
	defer conn.Close()
	user := "user\x00" + TrustUser + "\x00database\x00" + AppDatabase + "\x00\x00"
	packet := binary.BigEndian.AppendUint32(nil, uint32(8+len(user)))
	packet = binary.BigEndian.AppendUint32(packet, 3<<16|2)
	if _, err := conn.Write(append(packet, user...)); err != nil {
		t.Fatal(err)
	}
	first := make([]byte, 1)
	if _, err := io.ReadFull(conn, first); err != nil || first[0] != 'R' {
		t.Errorf("answer to protocol 3.2 begins %q, %v, want R", first, err)
	}
}

func TestTLSVerifies(t *testing.T) {
	t.Parallel()
	pg := StartPostgresT(t, PostgresOptions{TLS: true})
	cmd := exec.CommandContext(t.Context(), filepath.Join(pgBin, "psql"), "-X", "-A", "-t",
		"-c", "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
		"host="+pg.Host+" user="+TrustUser+" dbname="+AppDatabase+" sslmode=verify-full sslrootcert="+pg.CAFile)
	if out, err := cmd.CombinedOutput(); err != nil || strings.TrimSpace(string(out)) != "t" {
		t.Errorf("psql: %q, %v, want t", out, err)
	}
}
