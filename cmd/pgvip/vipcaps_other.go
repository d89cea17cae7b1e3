//go:build !linux

package main

// confine has nothing to give up.
func confine() error { return nil }

// lacksVIPCaps says that there is no virtual IP.
func lacksVIPCaps() string { return "vip: the virtual IP needs Linux" }
