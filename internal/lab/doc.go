// Package lab runs the real thing for tests, the demo and the benchmark: etcd,
// Patroni and PostgreSQL from Debian's packages, as processes on addresses of
// 127.0.0.0/8, and lets a test kill, freeze and restart each of them.
//
// A lab takes one of a few slots of the machine, so that several test programs
// can run labs side by side. The slot gives it addresses of its own, and with
// them the standard ports:
//
//	slot s   127.(64+s).0.n   node n: PostgreSQL 5432, Patroni 8008, etcd 2379 and 2380
//	         /tmp/pgvip-lab/slot-s   every file, and the working directory of every process
//
// That working directory is how the lab knows its own. PostgreSQL's processes
// leave their parents, sessions and process groups, but not this directory; so
// whatever works below it belongs to the slot. A watchdog, one shell per lab,
// kills all of them when the lab is stopped, and as well when the program that
// started it is killed.
//
//	cluster := lab.StartT(t, lab.Options{Nodes: 3})
//	leader, err := cluster.Leader(ctx)
//	err = leader.Postgres.Kill()
//
// A lone server can be PostgreSQL 18, from the npm registry (install-npm.sh).
//
// It knows nothing of pgvip.
package lab
