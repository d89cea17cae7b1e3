package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/config"
)

// knockTimeout bounds how long an old socket may take to show whether anybody
// listens on it: one whose queue is full does not answer.
const knockTimeout = time.Second

// listenUnix opens a Unix socket with the configured permissions; "@" begins the
// name of an abstract one, which has none. A file left behind by a process that
// was killed is replaced; one that answers, or might, is in use.
func listenUnix(c *config.Config, path string) (net.Listener, error) {
	abstract := strings.HasPrefix(path, "@")
	if !abstract {
		if err := removeStale(path); err != nil {
			return nil, err
		}
		// It accepts as soon as it is there, so nobody may connect before it has
		// its permissions. Nothing else makes files while pgvip starts.
		defer syscall.Umask(syscall.Umask(0o777))
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if !abstract {
		if err := permit(path, c.Listen.UnixSocketMode, c.Listen.UnixSocketGroup); err != nil {
			l.Close()
			return nil, err
		}
	}
	return tuned(l, c)
}

// removeStale removes a socket on which nobody listens.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || info.Mode()&fs.ModeSocket == 0 {
		return syscall.EADDRINUSE // bind would say so too
	}
	conn, err := net.DialTimeout("unix", path, knockTimeout)
	if err == nil {
		conn.Close()
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return syscall.EADDRINUSE
	}
	return os.Remove(path)
}

// permit gives the socket its group first: a mode that lets the group in must
// not do so for the group that it was born with.
func permit(path string, mode fs.FileMode, group string) error {
	if group != "" {
		id, err := groupID(group)
		if err != nil {
			return err
		}
		if err := os.Chown(path, -1, id); err != nil {
			return err
		}
	}
	return os.Chmod(path, mode)
}

// groupID reads a group's name or number.
func groupID(group string) (int, error) {
	if id, err := strconv.ParseUint(group, 10, 31); err == nil {
		return int(id), nil
	}
	g, err := user.LookupGroup(group)
	if err != nil {
		return 0, fmt.Errorf("listen.unix_socket_group: there is no group %q", group)
	}
	return strconv.Atoi(g.Gid)
}
