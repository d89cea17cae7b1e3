package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestActingNeedsTheToken(t *testing.T) {
	s := healthy()
	url := serve(t, s, Rules{Token: "s3cret"})
	for _, tt := range []struct {
		name, method, path string
		headers            []string
		want               int
		done               string
	}{
		{"no token", "POST", "/reload", nil, 403, ""},
		{"wrong token", "POST", "/reload", []string{"Authorization", "Bearer s3creT"}, 403, ""},
		{"another scheme", "POST", "/reload", []string{"Authorization", "Basic s3cret"}, 403, ""},
		{"GET", "GET", "/reload", []string{"Authorization", "Bearer s3cret"}, 405, ""},
		{"page of another site", "POST", "/reload", []string{"Authorization", "Bearer s3cret", "Origin", "http://evil.example"}, 403, ""},
		{"fetch of another site", "POST", "/reload", []string{"Authorization", "Bearer s3cret", "Sec-Fetch-Site", "cross-site"}, 403, ""},
		{"origin null", "POST", "/reload", []string{"Authorization", "Bearer s3cret", "Origin", "null"}, 403, ""},
		{"reload", "POST", "/reload", []string{"Authorization", "Bearer s3cret"}, 200, "reload"},
		{"drain without a token", "POST", "/vip/drain", nil, 403, ""},
		{"drain", "POST", "/vip/drain", []string{"Authorization", "Bearer s3cret"}, 200, "drain, force false"},
		{"drain in any case", "POST", "/vip/drain?force", []string{"Authorization", "Bearer s3cret"}, 200, "drain, force true"},
		{"drain undone", "POST", "/vip/ready", []string{"Authorization", "Bearer s3cret"}, 200, "undrain"},
		{"move", "POST", "/vip/move?to=lb2", []string{"Authorization", "Bearer s3cret"}, 200, "move to lb2"},
		{"move by GET", "GET", "/vip/move", []string{"Authorization", "Bearer s3cret"}, 405, ""},
		{"no such action", "POST", "/vip/burn", []string{"Authorization", "Bearer s3cret"}, 404, ""},
		{"scheme in small letters", "POST", "/servers/n2/drain", []string{"Authorization", "bearer s3cret"}, 200, "n2 drain"},
		{"same origin", "POST", "/servers/n2/ready", []string{"Authorization", "Bearer s3cret", "Origin", url}, 200, "n2 ready"},
		{"no such state", "POST", "/servers/n2/gone", []string{"Authorization", "Bearer s3cret"}, 404, ""},
		{"pause", "POST", "/databases/a%2Fb/pause", []string{"Authorization", "Bearer s3cret"}, 200, "pause a/b"},
		{"resume", "POST", "/databases/app/resume", []string{"Authorization", "Bearer s3cret"}, 200, "resume app"},
		{"HAProxy's actions", "POST", "/;csv", []string{"Authorization", "Bearer s3cret"}, 404, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s.told = nil
			answer, body := ask(t, tt.method, url+tt.path, tt.headers...)
			if answer.StatusCode != tt.want {
				t.Errorf("%s, want %d: %s", answer.Status, tt.want, body)
			}
			if got := strings.Join(s.told, ","); got != tt.done {
				t.Errorf("done: %q, want %q", got, tt.done)
			}
			if answer.Header.Get("Set-Cookie") != "" || strings.Contains(body, "s3cret") {
				t.Error("the answer has a cookie or the token")
			}
		})
	}
}

func TestNobodyActsWithoutAConfiguredToken(t *testing.T) {
	s := healthy()
	url := serve(t, s, Rules{})
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer x"} {
		if answer, _ := ask(t, "POST", url+"/reload", "Authorization", header); answer.StatusCode != 403 {
			t.Errorf("%q: %s, want 403", header, answer.Status)
		}
	}
	if len(s.told) > 0 {
		t.Errorf("done: %v", s.told)
	}
}

func TestErrorsOfActionsAreTold(t *testing.T) {
	s := healthy()
	url := serve(t, s, Rules{Token: "t"})
	for err, want := range map[error]int{ErrUnknown: 404, errors.New("loops: must be at least 0"): 409} {
		s.err = err
		answer, body := ask(t, "POST", url+"/reload", "Authorization", "Bearer t")
		if answer.StatusCode != want || strings.TrimSpace(body) != err.Error() {
			t.Errorf("%s %q, want %d %q", answer.Status, body, want, err)
		}
	}
}

func TestReadingCanNeedAPassword(t *testing.T) {
	url := serve(t, healthy(), Rules{User: "op", Password: "pass"})
	basic := func(text string) string { return "Basic " + base64.StdEncoding.EncodeToString([]byte(text)) }
	for _, tt := range []struct {
		path, header string
		want         int
	}{
		{"/", "", 401}, {"/metrics", "", 401}, {"/;csv", "", 401}, {"/stats.json", basic("op:wrong"), 401}, {"/", basic("x:pass"), 401},
		{"/", basic("op:pass"), 200}, {"/;csv", basic("op:pass"), 200},
		{"/healthz", "", 200}, {"/readyz", "", 200},
	} {
		if answer, _ := ask(t, "GET", url+tt.path, "Authorization", tt.header); answer.StatusCode != tt.want {
			t.Errorf("GET %s with %q: %s, want %d", tt.path, tt.header, answer.Status, tt.want)
		}
	}
}

func TestAnswersTellBrowsersToTrustNothing(t *testing.T) {
	url := serve(t, healthy(), Rules{})
	for _, path := range []string{"/", "/stats.json", "/metrics", "/;csv", "/nowhere"} {
		answer, _ := ask(t, "GET", url+path)
		policy := answer.Header.Get("Content-Security-Policy")
		if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: headers %v", path, answer.Header)
		}
	}
}

func TestReadyzSaysWhyNot(t *testing.T) {
	for name, tt := range map[string]struct {
		change func(*View)
		code   int
		text   string
	}{
		"ready":    {func(*View) {}, 200, "ready"},
		"starting": {func(v *View) { v.Ready, v.NotReady = false, "no news yet" }, 503, "no news yet"},
		"stopping": {func(v *View) { v.Stopping = true }, 503, "stopping"},
		// Without a primary clients wait here, as they would anywhere else.
		"no primary": {func(v *View) { v.Primary = nil }, 200, "ready"},
	} {
		t.Run(name, func(t *testing.T) {
			s := healthy()
			tt.change(&s.view)
			answer, body := ask(t, "GET", serve(t, s, Rules{})+"/readyz")
			if answer.StatusCode != tt.code || strings.TrimSpace(body) != tt.text {
				t.Errorf("%s %q, want %d %q", answer.Status, body, tt.code, tt.text)
			}
		})
	}
}

func TestStatsJSONIsTheView(t *testing.T) {
	_, body := ask(t, "GET", serve(t, healthy(), Rules{})+"/stats.json")
	var v View
	if err := json.Unmarshal([]byte(body), &v); err != nil {
		t.Fatal(err)
	}
	if v.Primary == nil || v.Primary.Name != "n1" || len(v.Servers) != 3 || v.Ports[0].Clients != 400 || v.Pools[0].ClActive != 10 {
		t.Errorf("view = %+v", v)
	}
}

// Ten scrapers at one time cost one look at the event loops.
func TestManyScrapersCostOneLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := healthy()
		g := &gatherer{source: s, began: time.Now()}
		for range 3 {
			var wg sync.WaitGroup
			for range 10 {
				wg.Go(func() { g.view(t.Context()) })
			}
			wg.Wait()
		}
		if got := s.loads.Load(); got != 1 {
			t.Errorf("%d looks, want 1", got)
		}
		time.Sleep(freshFor)
		g.view(t.Context())
		if got := s.loads.Load(); got != 2 {
			t.Errorf("%d looks after %v, want 2", got, freshFor)
		}
	})
}

func TestLoopsThatDoNotAnswerAreNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := healthy()
		g := &gatherer{source: s, began: time.Now()}
		g.view(t.Context())
		s.hang = true
		time.Sleep(5 * time.Second)
		began := time.Now()
		v := g.view(t.Context())
		if took := time.Since(began); took > patience {
			t.Errorf("a view took %v", took)
		}
		if len(v.Pools) == 0 || v.LoadError == "" || v.Primary == nil {
			t.Errorf("the last values are missing, or why they are the last: %+v", v)
		}
		if !g.alive(t.Context()) {
			t.Error("loops are dead after six seconds")
		}
		time.Sleep(loopsDead)
		if g.alive(t.Context()) {
			t.Error("loops that have been stuck for 16 s are alive")
		}
		s.hang = false
		time.Sleep(freshFor)
		if !g.alive(t.Context()) {
			t.Error("loops that answer again are dead")
		}
	})
}

// Whoever asks and goes away leaves the look to the others.
func TestALookOutlivesWhoAskedForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := healthy()
		s.hang = true
		g := &gatherer{source: s, began: time.Now()}
		gone, leave := contextOf(t)
		go func() {
			time.Sleep(100 * time.Millisecond)
			leave()
		}()
		began := time.Now()
		g.view(gone)
		if took := time.Since(began); took != 100*time.Millisecond {
			t.Errorf("waited %v for who has gone", took)
		}
		g.view(t.Context())
		if got := s.loads.Load(); got != 1 {
			t.Errorf("%d looks, want 1", got)
		}
	})
}

func TestConnectionsAreBounded(t *testing.T) {
	url := serve(t, healthy(), Rules{})
	address := strings.TrimPrefix(url, "http://")
	var held []net.Conn
	for range maxConns {
		c, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, c)
	}
	extra, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	if err := extra.SetReadDeadline(time.Now().Add(3 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := extra.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("connection %d is not closed: %v", maxConns+1, err)
	}
	for _, c := range held {
		c.Close()
	}
	for deadline := time.Now().Add(5 * time.Second); ; {
		r, err := http.Get(url + "/readyz")
		if err == nil {
			r.Body.Close()
			http.DefaultClient.CloseIdleConnections()
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no seat is free again: %v", err)
		}
	}
}

func isTimeout(err error) bool {
	var e net.Error
	return errors.As(err, &e) && e.Timeout()
}

func TestLongHeadersAreRefused(t *testing.T) {
	c, err := net.Dial("tcp", strings.TrimPrefix(serve(t, healthy(), Rules{}), "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// The server may have gone before it has taken all of this.
	_, _ = c.Write([]byte("GET /readyz HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 64<<10) + "\r\n\r\n"))
	answer, _ := io.ReadAll(c)
	if len(answer) > 0 && !strings.HasPrefix(string(answer), "HTTP/1.1 431") {
		t.Errorf("answer = %.80q, want 431 or none", answer)
	}
}
