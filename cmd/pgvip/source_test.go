package main

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/internal/certs"
)

// TestRESTOverTLS: Patroni with verify_client: required knows pgvip by its
// certificate, and pgvip Patroni by its authority.
func TestRESTOverTLS(t *testing.T) {
	files := certs.Write(t, "pgvip")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) == 0 || r.TLS.PeerCertificates[0].Subject.CommonName != "pgvip" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		t.Fatal(err)
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	defer s.Close()
	for _, row := range []struct {
		name string
		api  config.PatroniAPI
		want string
	}{
		{"both", config.PatroniAPI{CACert: files.CA, Cert: files.ClientCert, Key: files.ClientKey}, "200 "},
		{"no certificate of ours", config.PatroniAPI{CACert: files.CA}, "403 "},
		{"insecure", config.PatroniAPI{Insecure: true}, "403 "},
		{"unknown authority", config.PatroniAPI{}, "unknown authority"},
	} {
		in := &inputs{config: &config.Config{PatroniAPI: row.api}}
		if err := readSources(in); err != nil {
			t.Fatal(err)
		}
		a := in.patroniAPI.Primary(t.Context(), s.URL)
		in.patroniAPI.Close()
		if got := fmt.Sprint(a.Code, " ", a.Err); !strings.Contains(got, row.want) {
			t.Errorf("%s: %s, want %s", row.name, got, row.want)
		}
	}
}
