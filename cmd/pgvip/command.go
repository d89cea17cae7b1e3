package main

import (
	"context"
	"runtime/metrics"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/console"
)

// What operators tell the node, on the console or by signals.

// noted writes an operator's command to the log.
func (d *desk) noted(command, database string) {
	if database == "" {
		database = "(all)"
	}
	d.log.Info(command+" command issued", zap.String("db", database))
}

// Shutdown implements console.Target: the node begins to stop when its caller has
// been answered.
func (d *desk) Shutdown(mode console.ShutdownMode) error {
	stop := map[console.ShutdownMode]stop{
		console.ShutdownNow: stopNow, console.WaitForServers: stopAfterServers, console.WaitForClients: stopAfterClients,
	}[mode]
	d.noted("SHUTDOWN "+stop.String(), "")
	select {
	case d.stops <- stop:
	default: // one is on its way already
	}
	return nil
}

// Paused implements console.Target.
func (d *desk) Paused() bool { return d.pools.Paused("") }

// Pause implements console.Target.
func (d *desk) Pause(database string) error {
	if d.Paused() {
		return console.ErrPaused
	}
	d.noted("PAUSE", database)
	d.pools.Pause(database)
	return nil
}

// AwaitPause implements console.Target.
func (d *desk) AwaitPause(ctx context.Context, database string) error {
	if err := d.pools.AwaitPaused(ctx, database); err != nil {
		return err
	}
	if !d.pools.Paused(database) {
		return console.ErrResumed
	}
	return nil
}

// Resume implements console.Target.
func (d *desk) Resume(database string) error {
	switch {
	case d.stopping.Load():
		return console.ErrStopping
	case d.pools.Resume(database):
		d.noted("RESUME", database)
		return nil
	case database != "" && !d.knows(database):
		return console.ErrNoDatabase
	}
	return console.ErrNotPaused
}

// knows reports whether a database is configured by its name or in use. Where it
// takes no more, any name is a database, as with "*" in PgBouncer.
func (d *desk) knows(database string) bool {
	if _, ok := d.config().Databases[database]; ok {
		return true
	}
	return d.pools.Has(database)
}

// Reconnect implements console.Target.
func (d *desk) Reconnect(database string) error {
	d.noted("RECONNECT", database)
	d.pools.Reconnect(database)
	return nil
}

// AwaitClose implements console.Target.
func (d *desk) AwaitClose(ctx context.Context, database string) error {
	return d.pools.AwaitClosed(ctx, database)
}

// Kill implements console.Target. What is killed stays paused until RESUME, each
// database by its name.
func (d *desk) Kill(database string) error {
	if d.Paused() {
		return console.ErrPaused
	}
	d.noted("KILL", database)
	databases := []string{database}
	if database == "" {
		databases = d.pools.Databases()
	}
	for _, name := range databases {
		d.pools.Pause(name)
	}
	d.proxy.Kill(database)
	return nil
}

// KillClient implements console.Target.
func (d *desk) KillClient(id uint64) error {
	if !d.proxy.KillClient(id) {
		return console.ErrNoClient
	}
	d.log.Info("KILL_CLIENT command issued", zap.Uint64("session", id))
	return nil
}

// Disable implements console.Target.
func (d *desk) Disable(database string) error {
	d.noted("DISABLE", database)
	d.pools.SetDisabled(database, true)
	return nil
}

// Enable implements console.Target.
func (d *desk) Enable(database string) error {
	if !d.knows(database) && !d.pools.Disabled(database, false) {
		return console.ErrNoDatabase
	}
	d.noted("ENABLE", database)
	d.pools.SetDisabled(database, false)
	return nil
}

// Memory implements console.Target: where the process's memory is, as the Go
// runtime counts it.
func (d *desk) Memory() []console.Memory {
	classes := []struct{ name, used, free string }{
		{"heap", "/memory/classes/heap/objects:bytes", "/memory/classes/heap/unused:bytes"},
		{"heap_free", "", "/memory/classes/heap/free:bytes"},
		{"stacks", "/memory/classes/heap/stacks:bytes", ""},
		{"runtime", "/memory/classes/other:bytes", ""},
		{"total", "/memory/classes/total:bytes", "/memory/classes/heap/released:bytes"},
	}
	read := func(name string) int {
		if name == "" {
			return 0
		}
		sample := []metrics.Sample{{Name: name}}
		metrics.Read(sample)
		return int(sample[0].Value.Uint64())
	}
	var list []console.Memory
	for _, c := range classes {
		used, free := read(c.used), read(c.free)
		list = append(list, console.Memory{Name: c.name, Size: 1, Used: used, Free: free, Total: used + free})
	}
	return list
}
