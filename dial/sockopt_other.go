//go:build !linux

package dial

import (
	"net"
	"time"
)

// setUserTimeout does nothing: the option is Linux's.
func setUserTimeout(*net.TCPConn, time.Duration) error { return nil }

// duplicate is for the event loops, which are Linux only.
func duplicate(net.Conn) (int, error) { return -1, errNoSocket }
