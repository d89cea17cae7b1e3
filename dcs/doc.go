// Package dcs follows what the cluster manager says about the cluster: Patroni's
// keys in etcd (Etcd), or its REST interface (Patroni). Where there is none, a list
// of servers stands in (Static).
//
// A Source calls back with one Snapshot per change, in order and one store
// revision at a time, and with one more for each linearizable read that
// confirmed the last. It never decides a route, and never turns its own trouble
// (a broken watch, a slow read) into news about the cluster: it keeps quiet, and
// the age of its last snapshot tells.
//
// Etcd does so through two members at once, each on a connection of its own, and
// believes the first to tell:
//
//	connect --> read prefix --> watch from revision+1 --+
//	   ^             ^                |  ^              |
//	   |             |                +--+ event, read  |
//	   |             +------------------ watch ended ---+
//	   +--- two reads missed, or client broken ---------+
package dcs
