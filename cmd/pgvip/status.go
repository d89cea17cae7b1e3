package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/config"
)

// statusPatience bounds how long status waits for an answer.
const statusPatience = 5 * time.Second

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Ask a running pgvip how it and its cluster are",
		Long: "status asks a running pgvip on its operators' port, which it finds in the configuration,\n" +
			"or at --url. It ends with 0 when there is a primary, and with 1 when there is none or\n" +
			"pgvip does not answer.",
		Args: cobra.NoArgs,
	}
	path := addConfigFlag(cmd)
	at := cmd.Flags().String("url", "", "where it is, as http://host:7000 (instead of the configuration)")
	asJSON := cmd.Flags().Bool("json", false, "print JSON")
	ready := cmd.Flags().Bool("ready", false, "ask /readyz alone: end with 0 while clients should be sent there, else with 1")
	cmd.MarkFlagsMutuallyExclusive("json", "ready")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		asker, err := newAsker(*path, *at)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(context.Background(), statusPatience)
		defer cancel()
		if *ready {
			return asker.ready(ctx, cmd.OutOrStdout())
		}
		v, err := asker.ask(ctx)
		if err != nil {
			return err
		}
		if *asJSON {
			err = printJSON(cmd.OutOrStdout(), v)
		} else {
			err = admin.WriteText(cmd.OutOrStdout(), v)
		}
		if err == nil && v.Primary == nil {
			return errSaid // it has just been printed
		}
		return err
	}
	return cmd
}

// asker asks a running pgvip.
type asker struct {
	url            string
	user, password string
	token          string // for acting
	client         *http.Client
}

// newAsker finds the operators' port, by its URL or in the configuration at path.
func newAsker(path, at string) (*asker, error) {
	transport := &http.Transport{DisableKeepAlives: true}
	a := &asker{url: at, client: &http.Client{Transport: transport}}
	if at != "" {
		a.token = tokenOfEnvironment()
		return a, checkURL(at)
	}
	c, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	if len(c.Listen.Admin) == 0 {
		return nil, errors.New("listen.admin is turned off in " + path)
	}
	first := c.Listen.Admin[0]
	if ip := net.ParseIP(first.Host); first.Host == "" || ip != nil && ip.IsUnspecified() {
		first.Host = "localhost" // every address of the machine
	}
	a.url = "http://" + net.JoinHostPort(first.Host, strconv.Itoa(first.Port))
	a.user, a.password = c.Admin.User, c.Admin.Password.Reveal()
	a.token = c.Admin.Token.Reveal()
	cert, err := readAdminCert(c)
	if err != nil {
		return nil, err
	}
	if cert != nil {
		a.url = "https" + a.url[len("http"):]
		transport.TLSClientConfig = onlyCertificate(cert)
	}
	return a, nil
}

// checkURL reports that somebody has named a place that is none.
func checkURL(at string) error {
	u, err := url.Parse(at)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return &exitError{codeUsage, fmt.Errorf("--url must be as http://host:7000, is %q", at)}
	}
	return nil
}

// onlyCertificate trusts the certificate of the configuration, whatever names and
// issuer it has: it is the same file that the server has read.
func onlyCertificate(cert *tls.Certificate) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, // VerifyConnection is stricter
		VerifyConnection: func(s tls.ConnectionState) error {
			if len(s.PeerCertificates) == 0 || !bytes.Equal(s.PeerCertificates[0].Raw, cert.Certificate[0]) {
				return errors.New("the certificate is not that of admin.tls_cert_file")
			}
			return nil
		},
	}
}

// ask gets the view.
func (a *asker) ask(ctx context.Context) (*admin.View, error) {
	answer, err := a.get(ctx, "/stats.json")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	url := answer.Request.URL.Redacted()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s", url, answer.Status)
	}
	v := new(admin.View)
	if err := json.NewDecoder(answer.Body).Decode(v); err != nil {
		return nil, fmt.Errorf("%s is no pgvip: %w", url, err)
	}
	return v, nil
}

// ready prints what /readyz says; a no is an error that has been printed.
func (a *asker) ready(ctx context.Context, out io.Writer) error {
	answer, err := a.get(ctx, "/readyz")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(out, io.LimitReader(answer.Body, 1<<10)); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return errSaid
	}
	return nil
}

func (a *asker) get(ctx context.Context, path string) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url, nil)
	if err != nil {
		return nil, err
	}
	r.URL.Path = path
	if a.user != "" {
		r.SetBasicAuth(a.user, a.password)
	}
	answer, err := a.client.Do(r)
	if err != nil {
		return nil, fmt.Errorf("no pgvip answers: %w", err)
	}
	return answer, nil
}
