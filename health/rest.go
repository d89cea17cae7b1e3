package health

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/route"
)

// RESTConfig says how Patroni's REST interface is spoken to. The zero value does
// for http, and for https with a certificate of a public authority.
type RESTConfig struct {
	TLS      *tls.Config // for https; nil checks with the system's authorities
	Username string      // empty: without authentication, which no GET needs
	Password string
	Dial     func(ctx context.Context, network, addr string) (net.Conn, error) // nil: net.Dialer
}

// REST asks Patroni's REST interface. It is safe for concurrent use; Close it.
type REST struct {
	client             *http.Client
	username, password string
}

// maxRESTBody bounds what is read of an answer: /cluster and /history of the
// oldest clusters are far below.
const maxRESTBody = 4 << 20

// NewREST makes a client; nothing is dialed before the first question.
func NewREST(cfg RESTConfig) *REST {
	return &REST{
		username: cfg.Username, password: cfg.Password,
		client: &http.Client{
			Transport: &http.Transport{
				DialContext:     cfg.Dial,
				TLSClientConfig: cfg.TLS,
				// A node's answer about itself must come from that node.
				Proxy:               nil,
				MaxIdleConnsPerHost: 1,
				IdleConnTimeout:     time.Minute,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// Close gives up connections that are kept for the next question.
func (r *REST) Close() { r.client.CloseIdleConnections() }

// Get fetches url by ctx's deadline, and gives status and body.
func (r *REST) Get(ctx context.Context, url string) (status int, body []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, nil, fmt.Errorf("patroni: %w", err)
	}
	if r.username != "" {
		req.SetBasicAuth(r.username, r.password)
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return 0, nil, fmt.Errorf("patroni: %w", err)
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxRESTBody))
	if err != nil {
		return 0, nil, fmt.Errorf("patroni: GET %s: %w", url, err)
	}
	return resp.StatusCode, body, nil
}

// Primary asks GET /primary at base, scheme://host:port, by ctx's deadline.
func (r *REST) Primary(ctx context.Context, base string) route.RESTAnswer {
	a := route.RESTAnswer{AskedAt: time.Now()}
	if base == "" {
		a.Err = "no api_url known"
		return a
	}
	status, body, err := r.Get(ctx, base+"/primary")
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		a.Err = "no answer in time"
		return a
	case err != nil:
		a.Err, a.Refused = err.Error(), errors.Is(err, syscall.ECONNREFUSED)
		return a
	}
	a.Code, a.Primary = status, status == http.StatusOK
	var said struct {
		State    string `json:"state"`
		Role     string `json:"role"`
		Timeline uint32 `json:"timeline"`
		Failsafe bool   `json:"failsafe_mode_is_active"`
		SystemID string `json:"database_system_identifier"`
	}
	// The status is the answer. A field of an unexpected kind costs no other one.
	_ = json.Unmarshal(body, &said)
	a.State, a.Role, a.Timeline = said.State, said.Role, said.Timeline
	a.Failsafe, a.SystemID = said.Failsafe, said.SystemID
	return a
}
