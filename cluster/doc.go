// Package cluster is what the pgvips of one Patroni cluster know of each other,
// over memberlist: who is here, in what state, with which clients; and what they
// do for each other: a cancel request that came to the wrong node goes to the
// right one.
//
//	Options, Status ----> Cluster <---- memberlist (sealed UDP and TCP) ----> peers
//	Publish(flows) -------'  |  '----> Event, View, FlowsOf
//
// Only nodes that the configuration names are admitted, from the addresses it
// gives them, and only with a key of the ring. Every node sends what it has to say
// straight to every other; nobody speaks for somebody else, but for memberlist's
// word on who lives.
//
// It decides nothing about the virtual IP, and asks no clock for the time of day.
package cluster
