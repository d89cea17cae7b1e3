package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// guard lets nobody in who may not, and tells browsers what they may do with an
// answer: show it, and nothing else.
func (s *HTTP) guard(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policyOfNothing)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cache-Control", "no-store")
		rules := s.opts.Rules()
		switch {
		case r.URL.Path == "/healthz" || r.URL.Path == "/readyz":
			// Load balancers and orchestrators have no passwords.
		case r.Method == http.MethodPost:
			if !mayAct(r, &rules) {
				say(w, http.StatusForbidden, "Acting needs the header \"Authorization: Bearer TOKEN\" with admin.token of the configuration.")
				return
			}
			if crossOrigin(r) {
				say(w, http.StatusForbidden, "Pages of other sites may not act here.")
				return
			}
		case !mayRead(r, &rules):
			h.Set("WWW-Authenticate", `Basic realm="pgvip", charset="UTF-8"`)
			say(w, http.StatusUnauthorized, "Reading needs admin.user and admin.password of the configuration.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func mayAct(r *http.Request, rules *Rules) bool {
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	return rules.Token != "" && strings.EqualFold(scheme, "Bearer") && equal(strings.TrimSpace(token), rules.Token)
}

func mayRead(r *http.Request, rules *Rules) bool {
	if rules.User == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	// Both are compared, so that the time tells nothing about either.
	right := subtle.ConstantTimeEq(btoi(equal(user, rules.User)), 1) & subtle.ConstantTimeEq(btoi(equal(password, rules.Password)), 1)
	return ok && right == 1
}

// equal compares in a time that depends on neither text's length nor content.
func equal(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

func btoi(b bool) int32 {
	if b {
		return 1
	}
	return 0
}

// crossOrigin reports that a browser sends this for a page of another site. No
// cookie counts here, so a page would have to know the token; it is refused all
// the same.
func crossOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return true
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	u, err := url.Parse(origin)
	return err != nil || u.Host != r.Host
}

// seated is a listener whose connections take a seat each, so that their number
// is bounded; further ones are closed at once, rather than left to wait.
type seated struct {
	net.Listener
	seats chan struct{}
}

// Accept implements net.Listener.
func (l *seated) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.seats <- struct{}{}:
			return &seat{Conn: c, leave: sync.OnceFunc(func() { <-l.seats })}, nil
		default:
			c.Close()
		}
	}
}

// seat is a connection that gives its seat back when it is closed.
type seat struct {
	net.Conn
	leave func()
}

// Close implements net.Conn.
func (c *seat) Close() error {
	defer c.leave()
	return c.Conn.Close()
}
