package track

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// nobody is the user without rights, by convention, on every Linux.
const nobody = 65534

// confine puts a script into a process group, which is killed as a whole, and takes
// root's rights from it. It dies with this process.
func confine(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// runConfined is to be the whole of a goroutine. Ambient capabilities, which a unit
// file gives this process for its keeper, would be passed on.
func runConfined(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// The main thread does not end with its goroutine. Kept here, it is not
		// where the next one runs.
		defer runtime.UnlockOSThread()
		done := make(chan error) // one value
		go func() { done <- runConfined(cmd) }()
		return <-done
	}
	// From here on the thread is not unlocked: see execute.
	if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0); err != nil {
		return fmt.Errorf("give up ambient capabilities: %w", err)
	}
	// Nothing that it starts gets rights by a set-user-id file.
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up new privileges: %w", err)
	}
	return cmd.Run()
}
