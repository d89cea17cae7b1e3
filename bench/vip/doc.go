// Package vip breaks a LAN of pgvip nodes (or of keepalived's) in every way that
// it knows, and measures who answers for the virtual IP meanwhile.
//
//	      harness's own network namespace: both bridges, and the lab (etcd, Patroni, PostgreSQL)
//	 +-- bridge lan -------+---------------+---------------+
//	 |10.99.0.0/24         |               |               |
//	lb1                   lb2            client         observer    a namespace each
//	 |10.98.0.0/24         |               |
//	 +-- bridge mgmt ------+---------------+---- 10.98.0.1 --> 127.64.0.0/10: the lab
//
// Nothing leaves these namespaces. They have no names and belong to the
// processes in them, so that nothing is left when the harness is killed.
//
//   - the observer asks by ARP every few milliseconds who has the address, and
//     notes every MAC that answers, with the kernel's time stamps;
//   - a watch on each node's addresses says when it had the address, and for how
//     long a node kept it whose processes were dead;
//   - a client connects to the address over and over, and others block in recv.
//
// The nodes' boot clocks are days apart, as those of machines are. The harness and all
// that it starts go before other programs of the machine; what is measured are some
// 100 ms. Where the observer itself stood still the line says so (stall_ms).
//
// The harness knows pgvip's binary, settings, ports and log alone.
package vip
