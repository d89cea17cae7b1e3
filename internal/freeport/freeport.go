// Package freeport finds addresses for servers that are started a moment later,
// or started again on the address that they had.
//
// A port of 127.0.0.1 that was free a moment ago may be taken by then: it is the
// source of every connection within the machine, and the kernel picks source
// ports from the same range. So the addresses given here are those of a host of
// loopback that only this process uses, and from which nothing connects.
package freeport

import (
	"fmt"
	"net"
	"os"
)

// Addr is an address that nobody listens on, "127.192.4.5:40123". It differs from
// those given before as long as the kernel has other ports to give.
func Addr() (string, error) {
	l, err := net.Listen("tcp4", net.JoinHostPort(Host(), "0"))
	if err != nil {
		return "", fmt.Errorf("free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// Host is the host of all addresses that this process is given.
func Host() string { return host(os.Getpid()) }

// host is the loopback address of a process: 127.192.0.0/10 has room for every
// process id that Linux gives out (2^22 at most).
func host(pid int) string {
	return net.IPv4(127, 192|byte(pid>>16&0x3f), byte(pid>>8), byte(pid)).String()
}
