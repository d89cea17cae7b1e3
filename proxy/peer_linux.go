package proxy

import (
	"net"
	"os"
	"os/user"
	"strconv"

	"golang.org/x/sys/unix"
)

// ofOwnUser reports whether the process at the other end of a Unix socket belongs
// to the same user as this one.
func ofOwnUser(conn net.Conn) bool {
	uid, ok := peerUID(conn)
	return ok && uid == os.Getuid()
}

// peerName is the name of the user whom the process at the other end of a Unix
// socket belongs to; "" when it is not known.
func peerName(conn net.Conn) string {
	uid, ok := peerUID(conn)
	if !ok {
		return ""
	}
	u, err := user.LookupId(strconv.Itoa(uid))
	if err != nil {
		return ""
	}
	return u.Username
}

// peerUID asks the kernel, which noted it when the other end connected.
func peerUID(conn net.Conn) (uid int, ok bool) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, false
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return 0, false
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err != nil || failed != nil {
		return 0, false
	}
	return int(cred.Uid), true
}
