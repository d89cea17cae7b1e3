package vip

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/bench/proc"
)

// duel is a pgvip and a keepalived on a LAN with an observer.
type duel struct {
	m        meeting
	opt      Options
	dir      string
	launcher *proc.Launcher
	net      *Network
	observer *Observer
	pgvip    *contender
	ka       *contender // keepalived
	result   *InteropResult
}

// contender is one of the two.
type contender struct {
	*Host
	what    string // "pgvip" or "keepalived"
	watch   *Watch
	process *proc.Process // nil before the first start
	launch  func(context.Context) (*proc.Process, error)
	log     string // path
	up      string // what the log says when it takes part
}

func newDuel(ctx context.Context, m meeting, o Options) (_ *duel, err error) {
	d := &duel{m: m, opt: o, launcher: proc.NewLauncher(), result: &InteropResult{Case: m.name}}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("interop %s: %w", m.name, err), d.close())
		}
	}()
	if d.dir, err = os.MkdirTemp("", "pgvip-interop-"); err != nil {
		return d, err
	}
	if err := os.Chmod(d.dir, 0o755); err != nil { // a script looks for a file there
		return d, err
	}
	if d.net, err = NewNetwork(); err != nil {
		return d, err
	}
	number := map[bool]int{false: 22, true: 11}
	d.pgvip = &contender{what: "pgvip", launch: d.launchPgvip, up: `"state":"BACKUP"`}
	d.ka = &contender{what: "keepalived", launch: d.launchKeepalived, up: "Entering BACKUP STATE"}
	for _, c := range d.both() {
		c.log = filepath.Join(d.dir, c.what+"-"+c.what+".log")
		if c.Host, err = d.net.AddHost(ctx, c.what, number[m.low == (c == d.pgvip)]); err != nil {
			return d, err
		}
		if c.watch, err = NewWatch(c.Host, m.vip()); err != nil {
			return d, err
		}
	}
	eye, err := d.net.AddHost(ctx, "observer", 41)
	if err != nil {
		return d, err
	}
	if m.six {
		if err := d.detected(ctx); err != nil {
			return d, err
		}
	}
	d.observer, err = NewObserver(eye, m.vip())
	return d, err
}

// detected waits until the hosts have found their link-local addresses to be nobody
// else's: adverts are sent from them.
func (d *duel) detected(ctx context.Context) error {
	for _, c := range d.both() {
		for {
			tentative, err := c.Run(ctx, "ip", "-6", "addr", "show", "dev", lanIface, "tentative")
			if err != nil {
				return err
			}
			if tentative == "" {
				break
			}
			if err := pause(ctx, 50*time.Millisecond); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *duel) both() []*contender { return []*contender{d.pgvip, d.ka} }

// other is the one that c meets.
func (d *duel) other(c *contender) *contender {
	if c == d.pgvip {
		return d.ka
	}
	return d.pgvip
}

func (d *duel) close() error {
	if d.observer != nil {
		d.observer.Close()
	}
	for _, c := range d.both() {
		if c == nil || c.Host == nil {
			continue
		}
		for _, pid := range c.PIDs() {
			syscall.Kill(pid, syscall.SIGCONT) // one that is frozen does not end
		}
		if c.process != nil {
			c.process.Close()
		}
		if c.watch != nil {
			c.watch.Close()
		}
	}
	if d.net != nil {
		d.net.Close()
	}
	d.launcher.Close()
	if d.opt.Keep != "" {
		d.keep()
	}
	return os.RemoveAll(d.dir)
}

// keep copies the logs to where they are wanted.
func (d *duel) keep() {
	for _, c := range d.both() {
		text, err := os.ReadFile(c.log)
		if err == nil {
			err = os.WriteFile(filepath.Join(d.opt.Keep, d.m.name+"-"+c.what+".log"), text, 0o644)
		}
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			fmt.Fprintln(d.opt.Log, err)
		}
	}
}

func (d *duel) launchPgvip(ctx context.Context) (*proc.Process, error) {
	s := settings{
		"scope": "interop", "source": "static", "auth_type": "trust",
		// Nobody is there: pgvip listens all the same, and that is enough for plain VRRP.
		"static.servers": `{none: {address: "127.0.0.1:1"}}`, "probe.user": "nobody",
		"listen.primary": `"*:5000"`, "listen.replicas": `"*:5001"`, "listen.admin": `"*:7000"`,
		"log.format": "json", "vip.arbiter": "none", "vip.interface": lanIface,
		"vip.addresses": fmt.Sprintf("[%q]", d.m.vip()), "vip.startup_delay": "1s",
	}
	maps.Copy(s, d.m.pgvip)
	d.placeholders(s)
	conf := filepath.Join(d.dir, "pgvip.yaml")
	if err := os.WriteFile(conf, []byte(s.yaml()), 0o600); err != nil {
		return nil, err
	}
	return d.pgvip.Start(ctx, d.launcher, proc.Spec{
		Name: "pgvip-pgvip", Dir: d.dir, Args: []string{d.opt.Binary, "run", "-c", conf},
		Ready: func(context.Context) error { return nil },
	})
}

func (d *duel) launchKeepalived(ctx context.Context) (*proc.Process, error) {
	o := d.m.keepalived
	if o.Version == 0 {
		o.Version, o.Advert = 3, orElse(o.Advert, "0.1")
	}
	o.VIP = append([]string{d.m.vip().String()}, o.VIP...)
	o.Instance = slices.Clone(o.Instance)
	for i := range o.Instance {
		o.Instance[i] = d.named().Replace(o.Instance[i])
	}
	k, err := StartKeepalived(ctx, d.launcher, d.ka.Host, d.dir, o)
	if err != nil {
		return nil, err
	}
	return k.Process, nil
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// fault is a file that pgvip's script fails by.
func (d *duel) fault() string { return filepath.Join(d.dir, "fault") }

// named puts the hosts' addresses in the place of PGVIP and KEEPALIVED, and a file in
// that of FAULT.
func (d *duel) named() *strings.Replacer {
	return strings.NewReplacer("PGVIP", d.pgvip.LAN.String(), "KEEPALIVED", d.ka.LAN.String(), "FAULT", d.fault())
}

func (d *duel) placeholders(s settings) {
	for k, v := range s {
		s[k] = d.named().Replace(v)
	}
}

// text is all that a contender has said.
func (c *contender) text() string {
	text, _ := os.ReadFile(c.log) // none yet
	return string(text)
}

// tails are the ends of both logs.
func (d *duel) tails() string {
	var b strings.Builder
	for _, c := range d.both() {
		lines := strings.Split(strings.TrimSpace(c.text()), "\n")
		fmt.Fprintf(&b, "--- %s\n%s\n", c.what, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	return b.String()
}
