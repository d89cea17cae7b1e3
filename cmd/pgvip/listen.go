package main

import (
	"net"
	"os"
	"syscall"
)

// listenUnix opens a Unix socket. One left behind by a process that was killed
// is replaced; one that answers is in use.
func listenUnix(path string) (net.Listener, error) {
	if conn, err := net.Dial("unix", path); err == nil {
		conn.Close()
		return nil, syscall.EADDRINUSE
	}
	if info, err := os.Lstat(path); err == nil && info.Mode()&os.ModeSocket != 0 {
		os.Remove(path)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	// As PostgreSQL's unix_socket_permissions: who may connect is a matter of
	// authentication.
	if err := os.Chmod(path, 0o777); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}
