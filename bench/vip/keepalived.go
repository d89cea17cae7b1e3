package vip

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/pgvip/pgvip/bench/proc"
)

// Keepalived is a keepalived on a host, for one virtual router.
type Keepalived struct {
	*proc.Process
	Host *Host
	Conf string // path
}

// KeepalivedOptions are what an instance's block says. The zero value is a backup of
// priority 100, version 2, 1 s.
type KeepalivedOptions struct {
	VIP      []string // "10.99.0.100/32"
	Priority int
	Version  int
	Advert   string   // seconds: "0.1"
	Global   []string // more lines of global_defs
	Instance []string // more lines of the instance: "nopreempt"
}

// CheckKeepalived reports that keepalived is missing, as an error that wraps ErrUnable.
func CheckKeepalived() error {
	if _, err := exec.LookPath("keepalived"); err != nil {
		return fmt.Errorf("%w: keepalived is not installed (make deps installs it)", ErrUnable)
	}
	return nil
}

// conf is the file's text. Daemons of several hosts run side by side: each has
// process id files of its own, on the command line.
func (o KeepalivedOptions) conf() string {
	priority, version, advert := o.Priority, o.Version, o.Advert
	if priority == 0 {
		priority = 100
	}
	if version == 0 {
		version = 2
	}
	if advert == "" {
		advert = "1"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "global_defs {\n  vrrp_version %d\n  %s\n}\n", version, strings.Join(o.Global, "\n  "))
	fmt.Fprintf(&b, "vrrp_instance pgvip {\n  state BACKUP\n  interface %s\n  virtual_router_id 51\n  priority %d\n  advert_int %s\n",
		lanIface, priority, advert)
	for _, line := range o.Instance {
		b.WriteString("  " + line + "\n")
	}
	fmt.Fprintf(&b, "  virtual_ipaddress {\n    %s\n  }\n}\n", strings.Join(o.VIP, "\n    "))
	return b.String()
}

// StartKeepalived starts keepalived on a host; its files go to dir, which has to be there.
func StartKeepalived(ctx context.Context, l *proc.Launcher, h *Host, dir string, opt KeepalivedOptions) (*Keepalived, error) {
	name := "keepalived-" + h.Name
	k := &Keepalived{Host: h, Conf: filepath.Join(dir, name+".conf")}
	if err := os.WriteFile(k.Conf, []byte(opt.conf()), 0o600); err != nil {
		return nil, err
	}
	path := func(suffix string) string { return filepath.Join(dir, name+suffix) }
	for _, suffix := range []string{".pid", "-vrrp.pid"} { // a killed one has left them
		os.Remove(path(suffix))
	}
	p, err := h.Start(ctx, l, proc.Spec{
		Name: name, Dir: dir,
		Args: []string{"keepalived", "--dont-fork", "--log-console", "--log-detail", "--vrrp",
			"--use-file", k.Conf, "--pid", path(".pid"), "--vrrp_pid", path("-vrrp.pid")},
		Ready: func(context.Context) error { _, err := os.Stat(path("-vrrp.pid")); return err },
	})
	if err != nil {
		return nil, err
	}
	k.Process = p
	return k, nil
}
