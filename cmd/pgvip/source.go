package main

import (
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/pgvip/pgvip/config"
	"github.com/pgvip/pgvip/dcs"
	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/tlsconf"
)

// source is who tells about the cluster.
func (n *node) source(c *config.Config) (dcs.Source, error) {
	switch c.Source {
	case config.SourceEtcd:
		return dcs.NewEtcd(n.etcdConfig(c))
	case config.SourcePatroni:
		return dcs.NewPatroni(dcs.PatroniConfig{
			Hosts: patroniURLs(&c.Patroni), Scope: c.Scope, Interval: c.Patroni.Interval, Get: n.getPatroni,
		})
	case config.SourceStatic:
		return dcs.NewStatic(func() []dcs.Server { return listed(&n.config().Static) }), nil
	default:
		panic("BUG: source " + c.Source.String())
	}
}

func (n *node) etcdConfig(c *config.Config) dcs.EtcdConfig {
	// Names of its own: those of the nodes are watched for a change.
	names := &dial.Names{TTL: func() time.Duration { return n.config().DNSMaxTTL }, Dial: newOwnDialer(c).dialFunc()}
	e := dcs.EtcdConfig{
		Endpoints: etcdEndpoints(c),
		Namespace: c.Namespace, Scope: c.Scope,
		Username: c.Etcd.Username, Password: c.Etcd.Password.Reveal(),
		TLS: func() *tls.Config { return n.inputs.Load().etcdTLS },
	}
	if names.Dial != nil {
		e.Dial = names.DialContext
	}
	return e
}

func etcdEndpoints(c *config.Config) []string {
	var all []string
	for _, h := range c.Etcd.Hosts {
		all = append(all, h.String())
	}
	return all
}

func patroniURLs(p *config.Patroni) []string {
	var all []string
	for _, h := range p.Hosts {
		all = append(all, p.Protocol+"://"+h.String())
	}
	return all
}

// listed are those of the list, by name.
func listed(s *config.Static) []dcs.Server {
	var all []dcs.Server
	for _, name := range slices.Sorted(maps.Keys(s.Servers)) {
		all = append(all, dcs.Server{Name: name, Addr: s.Servers[name].Address.String()})
	}
	return all
}

// getPatroni fetches a URL of Patroni's, with the certificates of now.
func (n *node) getPatroni(ctx context.Context, url string) (int, []byte, error) {
	return n.inputs.Load().patroniAPI.Get(ctx, url)
}

// askPatroni asks GET /primary, with the certificates of now.
func (n *node) askPatroni(ctx context.Context, url string) route.RESTAnswer {
	return n.inputs.Load().patroniAPI.Primary(ctx, url)
}

// blindRule is etcd_blind of now.
func (n *node) blindRule() route.BlindRule {
	if n.config().EtcdBlind == "static" {
		return route.BlindStatic
	}
	return route.BlindProbe
}

// readSources reads the certificates of etcd and of Patroni's REST interface.
func readSources(in *inputs) error {
	e, p := &in.config.Etcd, &in.config.PatroniAPI
	var errs [2]error
	if e.Protocol == "https" {
		in.etcdTLS, errs[0] = tlsconf.Client(tlsconf.Options{
			Mode: tlsconf.VerifyFull, CAFile: e.CACert, CertFile: e.Cert, KeyFile: e.Key,
		})
		errs[0] = ofKey("etcd", errs[0])
	}
	mode := tlsconf.VerifyFull
	if p.Insecure {
		mode = tlsconf.Require
	}
	rest, err := tlsconf.Client(tlsconf.Options{Mode: mode, CAFile: p.CACert, CertFile: p.Cert, KeyFile: p.Key})
	errs[1] = ofKey("patroni_api", err)
	conf := health.RESTConfig{TLS: rest, Username: p.Username, Password: p.Password.Reveal()}
	if own := newOwnDialer(in.config); own != nil {
		conf.Dial = (&dial.Names{TTL: func() time.Duration { return in.config.DNSMaxTTL }, Dial: own.DialContext}).DialContext
	}
	in.patroniAPI = health.NewREST(conf)
	return errors.Join(errs[:]...)
}

// clusterText says for check who tells about the cluster.
func clusterText(c *config.Config) string {
	switch c.Source {
	case config.SourcePatroni:
		return c.Scope + " by Patroni on " + joined(c.Patroni.Hosts)
	case config.SourceStatic:
		text := c.Scope + " without Patroni:"
		for _, s := range listed(&c.Static) {
			text += " " + s.Name + " " + s.Addr
		}
		return text
	default:
		return c.Namespace + c.Scope + " in etcd " + joined(c.Etcd.Hosts)
	}
}
