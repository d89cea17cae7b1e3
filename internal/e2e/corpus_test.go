package e2e

import (
	"maps"
	"slices"
	"testing"

	"github.com/pgvip/pgvip/internal/certs"
	"github.com/pgvip/pgvip/internal/corpus"
	"github.com/pgvip/pgvip/internal/lab"
)

// splitWorkers play the splits of one transcript side by side: enough that no
// CPU waits for a round trip, and fewer than a pool has servers.
const splitWorkers = 6

// pair is the same transcript played directly and through pgvip.
type pair struct {
	way             way
	direct, through *corpus.Player
}

func primaryPair(t *testing.T, w way) pair {
	t.Helper()
	p := pgvipIn(t, w)
	leader, err := p.cluster.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return pair{way: w, direct: corpus.NewPlayer(corpusTarget(leader.Postgres.Addr)), through: corpus.NewPlayer(corpusTarget(p.primary))}
}

func replicaPair(t *testing.T, w way) pair {
	t.Helper()
	p := pgvipIn(t, w)
	leader, err := p.cluster.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return pair{way: w, direct: corpus.NewPlayer(corpusTarget(replicaOf(p.cluster, leader).Postgres.Addr)), through: corpus.NewPlayer(corpusTarget(p.replicas))}
}

// replicaOf is some node that is not the leader.
func replicaOf(c *lab.Cluster, leader *lab.Node) *lab.Node {
	for _, n := range c.Nodes {
		if n != leader {
			return n
		}
	}
	return nil
}

// transcripts are those that must give the same bytes in a way. Where a server is
// shared that is nothing that relies on state of its session; with the policy pin
// all of them are played.
func transcripts(t *testing.T, w way) []*corpus.Transcript {
	t.Helper()
	all, err := corpus.Load()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(tr *corpus.Transcript) bool { return w.shared && tr.Has(corpus.TagState) })
}

// difference says why a transcript does not give PostgreSQL's bytes.
type difference struct {
	reason string

	// Of the chunkings in which it is certain; in the others it may be seen.
	whole, coalesced bool
}

// meant are differences that will stay: what PostgreSQL does there serves nobody.
var meant = map[string]difference{
	"ending-unknown-message-type":              {"the message is refused before it reaches PostgreSQL, whose error has file and line", true, true},
	"ending-by-half-close-before-sync":         {"pgvip ends the batch itself; PostgreSQL keeps replies that nobody asked it to flush", false, false},
	"extended-error-in-execute":                {"a statement that clients share may have its generic plan already, which fails when it runs and not when it is bound", false, false},
	"extended-statement-of-failed-transaction": {"where servers are shared the Parse may have to come again, and fails in place of the Bind: another line of postgres.c", false, false},
	"startup-long-value":                       {"a notice of the server's login is not part of the welcome", true, true},
}

// faults are differences that are to go. Each is still played, and one that is
// seen no more has to leave this table.
var faults = map[string]difference{}

// expected gives the difference of a transcript that has one.
func expected(name string) (difference, bool) {
	if d, ok := meant[name]; ok {
		return d, true
	}
	d, ok := faults[name]
	return d, ok
}

// compare plays tr in each chunking through pgvip, and holds it to what
// PostgreSQL answers when it gets the transcript whole.
func (p pair) compare(t *testing.T, tr *corpus.Transcript, chunkings ...corpus.Chunking) {
	t.Helper()
	if tr.Reusable() {
		tr = tr.Kept()
	}
	want, err := p.direct.Play(t.Context(), tr, corpus.Chunking{})
	if err != nil {
		t.Fatalf("direct: %v", err)
	}
	for _, c := range chunkings {
		got, err := p.through.Play(t.Context(), tr, c)
		if err == nil {
			err = corpus.Compare(got, want, corpus.Normaliser{})
		}
		p.verdict(t, tr, c, err)
	}
}

// verdict reports a difference that is not known, and a known one that is none.
func (p pair) verdict(t *testing.T, tr *corpus.Transcript, c corpus.Chunking, err error) {
	t.Helper()
	d, isKnown := expected(tr.Name)
	certain := d.whole && c == corpus.Chunking{} || d.coalesced && c.Coalesced
	switch {
	case err != nil && !isKnown:
		t.Errorf("%v: %v", c, err)
	case err == nil && certain:
		t.Errorf("%v: no longer differs, but is known to: %s", c, d.reason)
	}
}

func TestCorpusThroughPrimaryPort(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		p := primaryPair(t, w)
		for _, tr := range transcripts(t, w) {
			t.Run(tr.Name, func(t *testing.T) {
				p.compare(t, tr, corpus.Chunking{}, corpus.Chunking{Coalesced: true})
			})
		}
	}, sessions(), transactions(), pinned())
}

// TestCorpusInTLS: the same bytes in TLS, with the client and with PostgreSQL.
func TestCorpusInTLS(t *testing.T) {
	c := cluster(t)
	leader, err := c.WaitLeader(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	files := certs.Write(t, "corpus")
	eachWay(t, func(t *testing.T, w way) {
		change := settings{
			"client_tls_sslmode": "prefer", "client_tls_cert_file": files.Cert, "client_tls_key_file": files.Key,
			"server_tls_sslmode": "verify-full", "server_tls_ca_file": c.CAFile,
		}
		maps.Copy(change, w.change)
		server := pgvip(t, 40, change)
		server.ready(t)
		direct, through := corpusTarget(leader.Postgres.Addr), corpusTarget(server.primary)
		direct.TLS, through.TLS = true, true
		p := pair{way: w, direct: corpus.NewPlayer(direct), through: corpus.NewPlayer(through)}
		for _, tr := range transcripts(t, w) {
			t.Run(tr.Name, func(t *testing.T) {
				chunkings := []corpus.Chunking{{}, {Coalesced: true}}
				if tr.Short() {
					chunkings = append(chunkings, corpus.Chunking{Bytewise: true})
				}
				p.compare(t, tr, chunkings...)
			})
		}
	}, sessions(), pinned())
}

func TestCorpusThroughReplicaPort(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		p := replicaPair(t, w)
		for _, tr := range transcripts(t, w) {
			if tr.Has(corpus.TagPrimary) {
				continue
			}
			t.Run(tr.Name, func(t *testing.T) {
				p.compare(t, tr, corpus.Chunking{}, corpus.Chunking{Coalesced: true})
			})
		}
	}, sessions(), transactions())
}

// TestCorpusByteByByte also sends the login of transcripts that have startup
// parameters one byte at a time.
func TestCorpusByteByByte(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		p := primaryPair(t, w)
		for _, tr := range transcripts(t, w) {
			if !tr.Short() {
				continue
			}
			t.Run(tr.Name, func(t *testing.T) {
				p.compare(t, tr, corpus.Chunking{Bytewise: true})
			})
		}
	}, sessions(), pinned())
}

// TestCorpusSplitAtEveryByte: the bytes are the same wherever a write is cut.
func TestCorpusSplitAtEveryByte(t *testing.T) {
	eachWay(t, func(t *testing.T, w way) {
		p := primaryPair(t, w)
		for _, tr := range transcripts(t, w) {
			if _, differs := expected(tr.Name); differs {
				continue
			}
			t.Run(tr.Name, func(t *testing.T) {
				if tr.Reusable() {
					tr = tr.Kept()
				}
				want, err := p.direct.Play(t.Context(), tr, corpus.Chunking{})
				if err != nil {
					t.Fatalf("direct: %v", err)
				}
				if err := p.through.PlaySplits(t.Context(), tr, tr.Splits(), splitWorkers, want); err != nil {
					t.Error(err)
				}
			})
		}
	}, sessions(), transactions())
}
