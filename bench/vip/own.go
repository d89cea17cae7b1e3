package vip

import (
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
)

// ownNetwork is the variable that tells the second of us from the first.
const ownNetwork = "PGVIP_VIP_NETWORK"

// InOwnNetwork reports whether this program was started by Again.
func InOwnNetwork() bool { return os.Getenv(ownNetwork) != "" }

// Again runs this program once more, with its arguments, in a network namespace of
// its own, and returns how that ended. It needs root.
func Again() int {
	self, err := os.Executable()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	// The kernel kills it when the thread that started it ends.
	runtime.LockOSThread()
	cmd := exec.Command(self, os.Args[1:]...)
	cmd.Env = append(os.Environ(), ownNetwork+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNET, Pdeathsig: syscall.SIGTERM, Setpgid: true}
	// What is measured are time-outs of some 100 ms: whatever else runs on this machine
	// waits. Everything that is started from here on inherits it, so that all parts of
	// the experiment are equal. In a container it may be refused.
	_ = syscall.Setpriority(syscall.PRIO_PROCESS, 0, -15)
	signals := make(chan os.Signal, 1) // never closed
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	if err := cmd.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	go func() {
		for s := range signals {
			cmd.Process.Signal(s)
		}
	}()
	if err := cmd.Wait(); err != nil && cmd.ProcessState == nil {
		return 2
	}
	if code := cmd.ProcessState.ExitCode(); code >= 0 {
		return code
	}
	return 2 // killed
}
