// Package keeper is the process that holds the virtual IP: a child of the main
// process, of the same binary, which lives on a socket pair with it (vrrp/beat).
//
//	main process ==beats==> line --.
//	 peers' pings =========> paths -+--> loop --> election --> holding --> interface
//	 etcd =============> arbiter ---|                 |
//	 adverts, ARP, netlink > port --'                 '--> adverts, pings, requests
//
// One goroutine, the loop, owns everything; the others only bring what happened.
// There are two elections: with etcd as the arbiter (vrrp/owner), and VRRP as it
// stands in RFC 9568 (vrrp/instance) where there is none.
//
// The process exists so that the address does not depend on the main process: it
// is removed within milliseconds of its death and within beat.Silence of its
// standstill, and the peers are told. Should the keeper itself die or stand still,
// the main process replaces it; should both, the kernel removes the address after
// address.Lifetime, for nobody refreshes it. Whatever is refreshed has been
// validated after the last gap in the keeper's own clock.
//
// The keeper logs nothing: it tells the main process events. Its standard error is
// for a panic's last word.
package keeper
