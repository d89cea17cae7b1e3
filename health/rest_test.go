package health

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pgvip/pgvip/route"
)

// TestRESTPrimary: the status is the answer, the body only tells more.
func TestRESTPrimary(t *testing.T) {
	rows := []struct {
		name   string
		status int
		body   string
		want   route.RESTAnswer
	}{
		{"primary", 200, `{"state":"running","role":"master","timeline":3,"database_system_identifier":"73"}`,
			route.RESTAnswer{Code: 200, Primary: true, State: "running", Role: "master", Timeline: 3, SystemID: "73"}},
		{"failsafe", 200, `{"state":"running","role":"primary","cluster_unlocked":true,"failsafe_mode_is_active":true}`,
			route.RESTAnswer{Code: 200, Primary: true, State: "running", Role: "primary", Failsafe: true}},
		{"replica that knows of failsafe", 503, `{"role":"replica","failsafe_mode_is_active":true}`,
			route.RESTAnswer{Code: 503, Role: "replica", Failsafe: true}},
		{"a field of another kind", 200, `{"timeline":"unknown","failsafe_mode_is_active":true}`,
			route.RESTAnswer{Code: 200, Primary: true, Failsafe: true}},
		{"no JSON", 200, `<html>`, route.RESTAnswer{Code: 200, Primary: true}},
		{"redirect", 302, ``, route.RESTAnswer{Code: 302}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if user, password, _ := r.BasicAuth(); r.URL.Path != "/primary" || user != "u" || password != "p" {
					t.Errorf("asked for %s as %s:%s", r.URL.Path, user, password)
				}
				w.Header().Set("Location", "/elsewhere")
				w.WriteHeader(row.status)
				_, _ = w.Write([]byte(row.body))
			}))
			defer s.Close()
			r := NewREST(RESTConfig{Username: "u", Password: "p"})
			defer r.Close()
			before := time.Now()
			got := r.Primary(t.Context(), s.URL)
			if got.AskedAt.Before(before) || got.AskedAt.After(time.Now()) {
				t.Errorf("asked at %v", got.AskedAt)
			}
			if got.AskedAt = (time.Time{}); got != row.want {
				t.Errorf("got %+v, want %+v", got, row.want)
			}
		})
	}
}

// TestRESTSilence: who does not answer is waited for until the deadline only.
func TestRESTSilence(t *testing.T) {
	over := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-over }))
	defer s.Close()
	defer close(over)
	r := NewREST(RESTConfig{})
	defer r.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if got := r.Primary(ctx, s.URL); got.Code != 0 || got.Primary || got.Err != "no answer in time" {
		t.Errorf("silence: %+v", got)
	}
	for url, want := range map[string]string{"": "no api_url known", "http://127.0.0.1:1": "refused"} {
		if got := r.Primary(t.Context(), url); got.Primary || !strings.Contains(got.Err, want) || got.Refused != (want == "refused") {
			t.Errorf("%q: %+v, want %q", url, got, want)
		}
	}
}
