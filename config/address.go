package config

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
)

// Address is a TCP address as the file gives it.
type Address struct {
	Host string // "" is every address of the machine, written "*"
	Port int
}

// String gives what net.Dial and net.Listen take.
func (a Address) String() string {
	return net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// parseAddress reads "host:port"; IPv6 hosts stand in brackets. Names are not
// resolved here: a name server that is down must not keep pgvip from starting.
func parseAddress(text string) (Address, error) {
	if strings.Contains(text, "://") {
		return Address{}, fmt.Errorf("must be host:port without a scheme, is %q", text)
	}
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return Address{}, fmt.Errorf("must be host:port, is %q", text)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return Address{}, fmt.Errorf("must have a port from 0 to 65535, is %q", text)
	}
	if strings.ContainsAny(host, " \t/,@%*") && host != "*" {
		return Address{}, fmt.Errorf("must be host:port, is %q", text)
	}
	return Address{Host: host, Port: int(n)}, nil
}

// listenAddress reads an address to listen on: "*" is every address.
func listenAddress(text string) (Address, error) {
	a, err := parseAddress(text)
	if err != nil {
		return Address{}, err
	}
	if a.Host == "" {
		return Address{}, fmt.Errorf(`must name an address, or "*" for all, is %q`, text)
	}
	if a.Host == "*" {
		a.Host = ""
	}
	return a, nil
}

// peerAddress reads an address to connect to.
func peerAddress(text string) (Address, error) {
	a, err := parseAddress(text)
	if err != nil {
		return Address{}, err
	}
	if a.Host == "" || a.Host == "*" {
		return Address{}, errors.New("must name a host, is " + strconv.Quote(text))
	}
	if a.Port == 0 {
		return Address{}, errors.New("must have a port from 1 to 65535, is " + strconv.Quote(text))
	}
	return a, nil
}
