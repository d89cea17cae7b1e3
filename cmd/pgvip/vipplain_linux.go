package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// plainCommand is the hidden command that runs a program without privileges.
const plainCommand = "unprivileged"

// withoutPrivileges gives the command line that runs another one without
// capabilities: by way of this binary, since a process can give them up for itself
// alone.
func withoutPrivileges(argv []string) []string {
	return append([]string{"/proc/self/exe", plainCommand, "--"}, argv...)
}

// execPlain becomes the program, without capabilities and without a way back to
// them, as root too. It returns only an error.
func execPlain(argv []string) error {
	// What is given up is the thread's, and execve keeps that of its caller.
	runtime.LockOSThread()
	path, err := exec.LookPath(argv[0])
	if err != nil {
		return err
	}
	if err := giveUp(); err != nil {
		return fmt.Errorf("giving privileges up: %w", err)
	}
	return fmt.Errorf("%s: %w", path, unix.Exec(path, argv, os.Environ()))
}

// giveUp empties this thread's capability sets and has no later execve fill them.
func giveUp() error {
	// Without these root would get everything back: capabilities(7), securebits.
	// They need CAP_SETPCAP, which root has; nobody else gets anything back.
	const noRoot = 1<<0 | 1<<1 // SECBIT_NOROOT and its lock
	bits, err := unix.PrctlRetInt(unix.PR_GET_SECUREBITS, 0, 0, 0, 0)
	if err != nil {
		return fmt.Errorf("securebits: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_SECUREBITS, uintptr(bits)|noRoot, 0, 0, 0); err != nil && !errors.Is(err, unix.EPERM) {
		return fmt.Errorf("securebits: %w", err)
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("no_new_privs: %w", err)
	}
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("ambient capabilities: %w", err)
	}
	var none [2]unix.CapUserData
	return unix.Capset(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &none[0])
}
