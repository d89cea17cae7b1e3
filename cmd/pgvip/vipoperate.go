package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pgvip/pgvip/admin"
	"github.com/pgvip/pgvip/vrrp/beat"
)

// What operators want of the virtual IP.

const (
	// movePoll is how often it is looked whether it has.
	movePoll = 2 * time.Millisecond
)

var (
	errNoVIP     = errors.New("no virtual IP is configured")
	errNobody    = errors.New("no other node could take the virtual IP now; see pgvip status, or use --force")
	errNotMoved  = fmt.Errorf("the virtual IP has not moved within %s", movePatience)
	errDraining  = errors.New("this node is stopping")
	errUndrained = errors.New("the drain was taken back")
)

// Drain implements admin.Actions: the address goes first, to another node, then the
// clients, each between two transactions.
func (w *window) Drain(ctx context.Context, force bool) (string, error) {
	if w.stopping.Load() {
		return "", errDraining
	}
	text := "drained"
	if w.vip != nil {
		held := w.vip.Status().Holds
		if held && !force && !w.vip.hasHeir("") {
			return "", errNobody
		}
		w.vip.settle(ctx)
		w.vip.Drain()
		took, err := w.vip.awaitGone(ctx, func() error {
			if !w.vip.Drained() {
				return errUndrained
			}
			return nil
		})
		w.vip.part(err == nil)
		if err != nil {
			w.vip.Undrain()
			return "", err
		}
		if held {
			text = "drained; " + w.vip.moved(ctx, took)
		}
	}
	w.drained.Store(true)
	w.proxy.SetDrained(true)
	return text, nil
}

// Undrain implements admin.Actions.
func (w *window) Undrain() error {
	if w.stopping.Load() {
		return errDraining
	}
	w.proxy.SetDrained(false)
	w.drained.Store(false)
	if w.vip != nil {
		w.vip.Undrain()
	}
	return nil
}

// MoveVIP implements admin.Actions.
func (w *window) MoveVIP(ctx context.Context, to string) (string, error) {
	if w.vip == nil {
		return "", errNoVIP
	}
	st := w.vip.Status()
	if to != "" && !slices.ContainsFunc(st.Peers, func(p beat.PeerStatus) bool { return p.Name == to }) {
		return "", fmt.Errorf("%w: node %s", admin.ErrUnknown, to)
	}
	if st.State == beat.Active && !w.vip.hasHeir(to) {
		return "", errNobody
	}
	wish := to
	if wish == "" {
		wish = "*"
	}
	if st.State != beat.Active {
		return "", errNotHere
	}
	w.vip.settle(ctx)
	if err := w.vip.Move(wish); err != nil {
		w.vip.part(false)
		return "", err
	}
	took, err := w.vip.awaitGone(ctx, func() error { return nil })
	w.vip.part(err == nil)
	if err != nil {
		w.vip.keeper.Move("-") // lest it goes when nobody looks any more
		return "", err
	}
	return w.vip.moved(ctx, took), nil
}

// settle lets the transactions of the address's clients come to an end before a
// planned move, and holds back new ones until part.
func (v *vip) settle(ctx context.Context) {
	if !v.Status().Holds {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, settleLimit)
	defer cancel()
	v.node.vipClients.planned.Store(true)
	v.node.proxy.Settle(ctx)
}

// part ends settle. When the address has moved it waits until its clients were told.
func (v *vip) part(moved bool) {
	if moved {
		v.node.vipClients.Changed()
		_ = sleep(context.Background(), tellDelay) // nothing ends it
		v.node.proxy.EndMoved(v.node.vipClients.isVIP, false)
	}
	v.node.proxy.Unsettle()
	v.node.vipClients.planned.Store(false)
}

// hasHeir reports whether a node could take the address: the one of this name, or
// with "" any.
func (v *vip) hasHeir(name string) bool {
	return slices.ContainsFunc(v.Status().Peers, func(p beat.PeerStatus) bool {
		return p.Healthy && p.Fitness.Fault == "" && (name == "" || p.Name == name)
	})
}

// awaitGone waits until the address is not here any more, or what stands says that
// nobody wants that any more.
func (v *vip) awaitGone(ctx context.Context, stands func() error) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, movePatience)
	defer cancel()
	began := time.Now()
	tick := time.NewTicker(movePoll)
	defer tick.Stop()
	for {
		if st := v.Status(); !st.Holds && st.State != beat.Active {
			return time.Since(began), nil
		}
		if err := stands(); err != nil {
			return 0, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return 0, errNotMoved
		}
	}
}

// heirPatience is how long a node may take to have the address after another one
// has given it up; it takes some milliseconds.
const heirPatience = time.Second

// moved says what an operator is told who has had the address moved.
func (v *vip) moved(ctx context.Context, took time.Duration) string {
	ctx, cancel := context.WithTimeout(ctx, heirPatience)
	defer cancel()
	for {
		if to := v.Status().Owner; to != "" && to != v.self() {
			return fmt.Sprintf("the virtual IP has gone to %s within %d ms", to, max(took.Milliseconds(), 1))
		}
		if sleep(ctx, movePoll) != nil {
			return "the virtual IP was given up, AND NO OTHER NODE HAS IT YET: see pgvip status"
		}
	}
}

func (v *vip) self() string { return nodeName(v.node.config()) }
