package lab

import (
	"fmt"
	"os"
	"os/user"
	"strconv"
	"syscall"
)

// account is the user that the lab's processes run as: PostgreSQL refuses to
// run as root.
type account struct {
	uid, gid uint32
	change   bool // we are root and have to become it
}

// unprivileged is the user postgres of Debian's package, or nobody, when we are
// root, and ourselves when we are not.
func unprivileged() (*account, error) {
	if os.Geteuid() != 0 {
		return &account{uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("lab: a user to run PostgreSQL as: %w", err)
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("lab: uid of %s: %w", u.Username, err)
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("lab: gid of %s: %w", u.Username, err)
	}
	return &account{uid: uint32(uid), gid: uint32(gid), change: true}, nil
}

// attr makes a command run as the account, in a process group of its own so
// that the terminal's Ctrl-C reaches only us. The parent's death is the
// watchdog's business: PR_SET_PDEATHSIG follows the thread that forked, and Go
// may end that thread at any time.
func (a *account) attr() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true}
	if a.change {
		attr.Credential = &syscall.Credential{Uid: a.uid, Gid: a.gid}
	}
	return attr
}

// own gives a file to the account.
func (a *account) own(path string) error {
	if !a.change {
		return nil
	}
	if err := os.Chown(path, int(a.uid), int(a.gid)); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return nil
}

// mkdir makes a directory of the account, closed to others: PostgreSQL wants
// its data directory so.
func (a *account) mkdir(path string) error {
	if err := os.Mkdir(path, 0o700); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return a.own(path)
}

// write makes a file of the account, closed to others: some hold passwords.
func (a *account) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return fmt.Errorf("lab: %w", err)
	}
	return a.own(path)
}
