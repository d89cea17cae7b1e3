package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/internal/certs"
)

// ask makes a request to the operators' port, and gives the code and the body.
func ask(t *testing.T, method, url, token string) (int, string) {
	t.Helper()
	r, err := http.NewRequest(method, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.SetBasicAuth("op", "look")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: childLimit}
	answer, err := client.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, strings.TrimSpace(string(body))
}

// awaits asks until the answer is right, and gives its body.
func awaits(t *testing.T, what, url string, right func(int, string) bool) string {
	t.Helper()
	for deadline := time.Now().Add(childLimit); ; time.Sleep(20 * time.Millisecond) {
		code, body := ask(t, "GET", url, "")
		if right(code, body) {
			return body
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: the last answer is %d %s", what, code, body)
		}
	}
}

// seen waits until the view is right.
func seen(t *testing.T, what, url string, right func(*admin.View) bool) *admin.View {
	t.Helper()
	var v admin.View
	awaits(t, what, url+"/stats.json", func(code int, body string) bool {
		v = admin.View{}
		return code == 200 && json.Unmarshal([]byte(body), &v) == nil && right(&v)
	})
	return &v
}

func testOperatorsPort(t *testing.T, c *child, d *door) {
	url := "http://" + d.host + ":7000"
	awaits(t, "ready", url+"/readyz", func(code int, body string) bool { return code == 200 && body == "ready" })
	ctx, cancel := context.WithTimeout(t.Context(), childLimit)
	defer cancel()
	busy := d.connect(ctx, d.host)
	query(ctx, t, busy, "BEGIN")
	v := seen(t, "a client in a transaction", url, func(v *admin.View) bool {
		return len(v.Servers) == 1 && v.Servers[0].Primary.Active == 1 && v.Ports[0].Clients == 1
	})
	if v.Primary == nil || v.Primary.Name != v.Servers[0].Name || !v.Servers[0].Writes || v.Source.Freshness != "FRESH" || v.Epoch == 0 {
		t.Errorf("view = %+v", v)
	}
	if len(v.Decisions) == 0 || v.Decisions[0].At.IsZero() || time.Since(v.Decisions[0].At) > time.Hour {
		t.Errorf("decisions = %+v", v.Decisions)
	}
	if code, body := ask(t, "GET", url+"/;csv", ""); code != 200 || !strings.Contains(body, "\nprimary,BACKEND,") {
		t.Errorf("CSV: %d %s", code, body)
	}
	if code, body := ask(t, "GET", url+"/metrics", ""); code != 200 || !strings.Contains(body, "\npgvip_route_primary 1\n") {
		t.Errorf("metrics: %d %.200s", code, body)
	}
	testActions(t, c, url, v.Servers[0].Name)
	testNodeDrain(ctx, t, d, url, busy)
	busy = d.connect(ctx, d.host)
	query(ctx, t, busy, "BEGIN")

	c.signal(syscall.SIGTERM)
	awaits(t, "not ready while it stops", url+"/readyz", func(code int, body string) bool { return code == 503 && body == "stopping" })
	query(ctx, t, busy, "COMMIT")
	c.ends(codeFine)
}

func testActions(t *testing.T, c *child, url, server string) {
	t.Helper()
	for _, tt := range []struct {
		path, token string
		code        int
		body        string
	}{
		{"/reload", "", 403, ""}, {"/reload", "wrong", 403, ""}, {"/reload", "s3cret", 200, "done"},
		{"/servers/nobody/drain", "s3cret", 404, "there is none of that name: server nobody"},
		{"/servers/" + server + "/drain", "s3cret", 200, "done"},
		{"/databases/nowhere/pause", "s3cret", 404, "there is none of that name: database nowhere"},
		{"/databases/app/pause", "s3cret", 200, "done"},
	} {
		code, body := ask(t, "POST", url+tt.path, tt.token)
		if code != tt.code || tt.body != "" && body != tt.body {
			t.Errorf("POST %s: %d %s, want %d %s", tt.path, code, body, tt.code, tt.body)
		}
	}
	c.says("reloaded")
	seen(t, "drain and pause", url, func(v *admin.View) bool {
		return v.Servers[0].Admin == "drain" && len(v.Databases) > 0 && v.Databases[0].Paused
	})
	for _, path := range []string{"/databases/app/resume", "/servers/" + server + "/ready"} {
		if code, body := ask(t, "POST", url+path, "s3cret"); code != 200 {
			t.Errorf("POST %s: %d %s", path, code, body)
		}
	}
	seen(t, "all as before", url, func(v *admin.View) bool { return v.Servers[0].Admin == "ready" && !v.Databases[0].Paused })
}

// testNodeDrain: "pgvip drain" has clients leave and nobody come, --undo ends that. busy
// is in a transaction.
func testNodeDrain(ctx context.Context, t *testing.T, d *door, url string, busy *pgx.Conn) {
	t.Helper()
	if code, _, stderr := runLine("drain", "--url", url); code != codeFailed || !strings.Contains(stderr, "acting needs a token") {
		t.Errorf("drain without a token: %d, %s", code, stderr)
	}
	if code, stdout, stderr := runLine("drain", "-c", d.file); code != codeFine || stdout != "drained\n" {
		t.Errorf("drain: %d, %q, %s", code, stdout, stderr)
	}
	awaits(t, "not ready", url+"/readyz", func(code int, body string) bool { return code == 503 && body == "drained by an operator" })
	if _, err := d.try(ctx, d.host); !strings.Contains(fmt.Sprint(err), "drained by an operator") {
		t.Errorf("a client of a drained node: %v", err)
	}
	query(ctx, t, busy, "COMMIT")
	var answer int
	if err := busy.QueryRow(ctx, "SELECT 1").Scan(&answer); !strings.Contains(fmt.Sprint(err), "57P01") {
		t.Errorf("a client after its transaction: %v", err)
	}
	if code, stdout, stderr := runLine("drain", "--undo", "-c", d.file); code != codeFine || stdout != "done\n" {
		t.Errorf("drain --undo: %d, %q, %s", code, stdout, stderr)
	}
	awaits(t, "ready again", url+"/readyz", func(code int, body string) bool { return code == 200 })
	if code, body := ask(t, "POST", url+"/vip/move", "s3cret"); code != 409 || body != errNoVIP.Error() {
		t.Errorf("move without a virtual IP: %d %s", code, body)
	}
}

// Without etcd and PostgreSQL pgvip lives and is not ready; status says so.
func TestLonelyPgvipLivesAndIsNotReady(t *testing.T) {
	t.Parallel()
	address := freeAddress(t)
	files := certs.Write(t, "nobody")
	l := writeLonely(t, "admin: {tls_cert_file: "+files.Cert+", tls_key_file: "+files.Key+", user: op, password: look}\n")
	text, err := os.ReadFile(l.file)
	if err != nil {
		t.Fatal(err)
	}
	text = []byte(strings.Replace(string(text), `admin: ""`, "admin: "+address, 1))
	if err := os.WriteFile(l.file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runLine("status", "-c", l.file); code != codeFailed || !strings.Contains(stderr, "no pgvip answers") {
		t.Errorf("status before the start: %d, %s", code, stderr)
	}
	c := startChild(t, l.file, "")
	c.says("pgvip is serving")
	code, stdout, stderr := runLine("status", "-c", l.file)
	if code != codeFailed || !strings.Contains(stdout, "ready         no: there is no news of the cluster yet") ||
		!strings.Contains(stdout, "primary       NONE") || stderr != "" {
		t.Errorf("status: %d\n%s%s", code, stdout, stderr)
	}
	var v admin.View
	code, stdout, _ = runLine("status", "--json", "-c", l.file)
	if err := json.Unmarshal([]byte(stdout), &v); err != nil || code != codeFailed || v.Ready {
		t.Errorf("status --json: %d, %v, %+v", code, err, v)
	}
	if code, stdout, stderr := runLine("status", "--ready", "-c", l.file); code != codeFailed || stdout != "there is no news of the cluster yet\n" || stderr != "" {
		t.Errorf("status --ready: %d, %q, %q", code, stdout, stderr)
	}
	// Another certificate is not trusted, nor is a password given to it.
	_, _, stderr = runLine("status", "--url", "https://"+address)
	if !strings.Contains(stderr, "certificate") {
		t.Errorf("status of a stranger's certificate: %s", stderr)
	}
	c.signal(syscall.SIGTERM)
	c.ends(codeFine)
}

func TestStatusWantsAURL(t *testing.T) {
	t.Parallel()
	if code, _, stderr := runLine("status", "--url", "localhost:7000"); code != codeUsage || !strings.Contains(stderr, "--url must be") {
		t.Errorf("%d %s", code, stderr)
	}
	file := filepath.Join(t.TempDir(), "none.yaml")
	if code, _, _ := runLine("status", "-c", file); code != codeUsage {
		t.Errorf("without a configuration: %d, want %d", code, codeUsage)
	}
}
