package main

import (
	"errors"
	"fmt"
	"net"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
)

// Reload reads the configuration again, with all that it names, and applies the
// whole of it; when something is wrong it applies nothing and says what.
func (n *node) Reload() error {
	n.changing.Lock()
	defer n.changing.Unlock()
	running := n.config()
	next, err := readInputs(running.File)
	if err != nil {
		return n.rejected(running.File, each(err))
	}
	for _, k := range config.KeepRunning(running, next.config) {
		n.log.Warn("reload: "+k.Key+" needs a restart to change",
			zap.String("running", k.Running), zap.String("file", k.File))
	}
	changed := config.Changed(running, next.config)
	n.apply(next)
	n.log.Info("reloaded", zap.String("file", running.File), zap.Strings("changed", changed),
		zap.Int("users", next.users.Len()))
	return nil
}

// rejected logs why nothing has changed, and gives it in one sentence.
func (n *node) rejected(file string, faults []error) error {
	for _, f := range faults {
		n.log.Error("reload: " + f.Error())
	}
	n.log.Error("reload: nothing has changed", zap.String("file", file), zap.Int("faults", len(faults)))
	if more := len(faults) - 1; more > 0 {
		return fmt.Errorf("%w (and %d more in the log)", faults[0], more)
	}
	return faults[0]
}

// Set changes one setting until the next Reload. Files that the configuration
// names are read again, since the setting may be the name of one.
func (n *node) Set(key, value string) error {
	n.changing.Lock()
	defer n.changing.Unlock()
	c, err := config.Set(n.config(), key, value)
	if err != nil {
		return err
	}
	next, err := readNamed(c)
	if err != nil {
		return each(err)[0]
	}
	n.apply(next)
	n.log.Info("setting changed on the console", zap.String("key", key), zap.String("value", value))
	return nil
}

// apply makes new inputs count, for clients and servers that are there as well.
func (n *node) apply(in *inputs) {
	before := n.inputs.Swap(in)
	before.patroniAPI.Close()
	n.level.SetLevel(logLevel(in.config.Log))
	n.tuneListeners(in.config)
	n.proxy.Apply(proxySettings(in))
	n.pools.Apply(poolSettings(in))
	n.control.Again()
	n.reloadCluster(in.config)
	if n.vip != nil {
		n.vip.apply(in.config)
	}
	if !before.serverTLS.Same(in.serverTLS) {
		// What was good enough before may not be any more.
		n.pools.Reconnect("")
	}
}

// tuneListeners gives the listeners' sockets their options again; connections
// that are accepted from then on have them.
func (n *node) tuneListeners(c *config.Config) {
	for _, l := range n.listeners() {
		// A listener that is closed means that pgvip is stopping.
		if err := tune(l, c); err != nil && !errors.Is(err, net.ErrClosed) {
			n.log.Warn("reload: socket options", zap.Stringer("address", l.Addr()), zap.Error(err))
		}
	}
}
