// Package e2e holds the whole to its promises: it builds pgvip, runs it as a
// process in front of a real three-node cluster, and talks to it with psql,
// pgbench, psycopg, asyncpg, node-postgres, pgx, lib/pq and the protocol corpus.
//
// It has tests only. All of them share one cluster and, where they do not
// need one of their own, one pgvip; those that move the primary or kill a node
// leave the cluster whole.
package e2e
