package admin

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.uber.org/zap"
)

// Bounds of what one who connects may cost.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 15 * time.Second // above patience, and what an action may take
	idleTimeout   = 60 * time.Second
	maxHeader     = 16 << 10
	maxConns      = 128 // on all addresses together
)

// Options are what an HTTP is made of. Source, Actions and Log are required.
type Options struct {
	Source  Source
	Actions Actions
	Log     *zap.Logger
	Rules   func() Rules // as they are now
	TLS     *tls.Config  // nil for plain HTTP
}

// Rules are the settings that may change while pgvip runs. The zero value lets
// everybody read and nobody act.
type Rules struct {
	Token          string // of those who may act; "" is nobody
	User, Password string // of those who may read; "" is everybody
	Refresh        time.Duration
}

// HTTP serves operators. Use New, then Serve for each address, then Close.
type HTTP struct {
	// Immutable after New.
	opts    Options
	gather  *gatherer
	http    *http.Server
	seats   chan struct{} // one token for each connection
	metrics http.Handler
	pages   pages

	serving sync.WaitGroup
}

// New makes a server; nothing is served before Serve.
func New(o Options) *HTTP {
	s := &HTTP{
		opts:   o,
		gather: &gatherer{source: o.Source, began: time.Now()},
		seats:  make(chan struct{}, maxConns),
		pages:  newPages(),
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(processCollectors()...)
	registry.MustRegister(&collector{s.gather})
	s.metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
	s.http = &http.Server{
		Handler:           s.guard(s.routes()),
		TLSConfig:         o.TLS,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          zap.NewStdLog(zap.NewNop()), // broken connections are nobody's business
	}
	return s
}

// Serve answers on l until Close, which closes it.
func (s *HTTP) Serve(l net.Listener) {
	if s.opts.TLS != nil {
		// The seat is taken before the handshake, which costs most.
		l = tls.NewListener(&seated{Listener: l, seats: s.seats}, s.opts.TLS)
	} else {
		l = &seated{Listener: l, seats: s.seats}
	}
	s.serving.Go(func() {
		if err := s.http.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			s.opts.Log.Error("operators' port", zap.Stringer("address", l.Addr()), zap.Error(err))
		}
	})
}

// Close ends serving. Answers under way may be finished until ctx ends.
func (s *HTTP) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		s.http.Close()
	}
	s.serving.Wait()
	s.gather.wait()
}

// routes says what is where. HAProxy's options follow its page's path after a
// semicolon, which http.ServeMux would take for a part of the name.
func (s *HTTP) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", s.page)
	mux.HandleFunc("GET /stats", s.page)
	mux.HandleFunc("GET /stats.json", s.json)
	mux.HandleFunc("GET /metrics", s.metrics.ServeHTTP)
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.HandleFunc("POST /servers/{server}/{state}", s.setServer)
	mux.HandleFunc("POST /databases/{database}/{action}", s.setDatabase)
	mux.HandleFunc("POST /reload", s.reload)
	mux.HandleFunc("POST /vip/{action}", s.setVIP)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path, options, has := strings.Cut(r.URL.Path, ";")
		if has && (path == "/" || path == "/stats" || path == "/haproxy") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			s.haproxy(w, r, strings.Split(options, ";"))
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// healthz tells whether this process lives: its loops answer.
func (s *HTTP) healthz(w http.ResponseWriter, r *http.Request) {
	v := s.opts.Source.View()
	noteVIP(w, &v)
	if !s.gather.alive(r.Context()) {
		say(w, http.StatusServiceUnavailable, "the event loops do not answer")
		return
	}
	say(w, http.StatusOK, "ok")
}

// readyz tells whether clients should be sent here.
func (s *HTTP) readyz(w http.ResponseWriter, _ *http.Request) {
	v := s.opts.Source.View()
	noteVIP(w, &v)
	switch {
	case v.Stopping:
		say(w, http.StatusServiceUnavailable, "stopping")
	case !v.Ready:
		say(w, http.StatusServiceUnavailable, v.NotReady)
	default:
		say(w, http.StatusOK, "ready")
	}
}

// stateHeader tells load balancers and scripts which node has the virtual IP, or is
// to have it next. It changes no answer: a Backup is alive and ready as well.
const stateHeader = "Pgvip-Vip-State"

func noteVIP(w http.ResponseWriter, v *View) {
	if v.VIP != nil {
		w.Header().Set(stateHeader, string(v.VIP.State))
	}
}

// say answers with one line of text.
func say(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n")) // whoever has gone needs no answer
}
