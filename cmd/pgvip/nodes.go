package main

import (
	"context"
	"fmt"
	"time"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/console"
	"github.com/pgvip/pgvip/route"
)

// Nodes implements console.Target: what the operators' page says of the servers.
func (d *desk) Nodes(ctx context.Context) ([]console.Node, error) {
	pools, err := d.pools.Stats(ctx)
	if err != nil {
		return nil, err
	}
	st := d.control.record.state()
	if st.table == nil {
		return nil, nil
	}
	w := window{node: d.node}
	var list []console.Node
	for _, s := range w.servers(&st) {
		n := consoleNode(&s)
		n.Epoch = st.table.Epoch
		n.Readers = d.proxy.Readers(st.table.Lookup(s.Name))
		for _, p := range pools {
			if p.Node == s.Name {
				n.Queue += p.Waiting
				n.Active += p.Lent
				n.Idle += p.Idle
			}
		}
		list = append(list, n)
	}
	return list, nil
}

func consoleNode(s *admin.Server) console.Node {
	n := console.Node{
		Name: s.Name, Addr: s.Addr, Role: s.Role, State: string(s.State), Admin: console.ServerState(s.Admin),
		Writes: s.Writes, Reads: s.Reads, Reason: s.Out, Weight: s.Weight, Throttle: s.Throttle,
		LagKnown: s.LagTime >= 0, LagBytes: s.Lag, LagTime: seconds(s.LagTime),
		Check: s.Check.Status, Report: s.Check.Report, LastCheck: s.Check.At, Took: seconds(s.Check.Took), Since: s.Since,
		Downs: s.Downs, Downtime: seconds(s.Downtime), MaxConn: s.Limit, Timeline: s.Timeline,
	}
	if n.Admin == "" {
		n.Admin = console.ServerReady
	}
	return n
}

func seconds(f float64) time.Duration { return time.Duration(f * float64(time.Second)) }

// SetServer implements console.Target.
func (d *desk) SetServer(name string, state console.ServerState) error {
	s, ok := route.ParseAdminState(string(state))
	if !ok {
		return fmt.Errorf("no such state of a server: %s", state)
	}
	return d.control.SetAdmin(name, s)
}
