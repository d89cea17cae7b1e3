package main

import (
	"fmt"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// vipCaps are the capabilities of a keeper: netlink, and packet sockets.
const vipCaps = 1<<unix.CAP_NET_ADMIN | 1<<unix.CAP_NET_RAW

// confine leaves this process nothing of the privileges that the unit file gives
// for the keeper, but that it may hand them on: the loops, and whatever else reads
// what clients send, have none in effect. As root only those two go, since root
// may be wanted for sockets and files. It acts on every thread, which works without
// cgo only; released binaries are built so.
func confine() error {
	header := &unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(header, &data[0]); err != nil {
		return fmt.Errorf("capget: %w", err)
	}
	if os.Geteuid() != 0 {
		data[0] = unix.CapUserData{Permitted: data[0].Permitted & vipCaps}
		data[1] = unix.CapUserData{}
	} else {
		data[0].Effective &^= vipCaps
		data[0].Inheritable = 0
	}
	if _, _, errno := syscall.AllThreadsSyscall6(unix.SYS_PRCTL, unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0, 0); errno != 0 {
		return fmt.Errorf("prctl: %w", errno)
	}
	_, _, errno := syscall.AllThreadsSyscall(unix.SYS_CAPSET, uintptr(unsafe.Pointer(header)), uintptr(unsafe.Pointer(&data[0])), 0)
	if errno != 0 {
		return fmt.Errorf("capset: %w", errno)
	}
	return nil
}

// lacksVIPCaps says that this process could not run a keeper; "" when it could.
func lacksVIPCaps() string {
	var data [2]unix.CapUserData
	if unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &data[0]) != nil || data[0].Permitted&vipCaps == vipCaps {
		return ""
	}
	return "vip: CAP_NET_ADMIN and CAP_NET_RAW are needed and this user has them not: the unit file's drop-in pgvip.service.d/vip.conf gives them"
}
