package console

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/pgvip/pgvip/stats"
)

// The two kinds of sockets, as PgBouncer writes them.
const (
	clientSocket = "C"
	serverSocket = "S"
)

// bouncerSocketColumns are those of SHOW CLIENTS and SHOW SERVERS in PgBouncer.
func bouncerSocketColumns() []column {
	return join(columns(text, "type", "user", "database", "replication", "state", "addr"), columns(integer, "port"),
		columns(text, "local_addr"), columns(integer, "local_port"), columns(text, "connect_time", "request_time"),
		columns(integer, "wait", "wait_us", "close_needed"), columns(text, "ptr", "link"), columns(integer, "remote_pid"),
		columns(text, "tls", "application_name"), columns(integer, "prepared_statements", "id"))
}

// ourSocketColumns stand behind PgBouncer's.
func ourSocketColumns() []column { return columns(text, "node", "wait_reason") }

func socketColumns() []column { return join(bouncerSocketColumns(), ourSocketColumns()) }

func debugColumns() []column {
	return join(bouncerSocketColumns(), columns(integer, "recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain",
		"pkt_avail", "send_avail"), ourSocketColumns())
}

func clientRows(ctx context.Context, s *session) ([]row, error) {
	list, err := s.clients(ctx)
	var rows []row
	for i := range list {
		rows = append(rows, append(socketRow(&list[i], clientSocket, ""), list[i].Node, list[i].Reason))
	}
	return rows, err
}

// clients are all clients, the console's own included.
func (s *session) clients(ctx context.Context) ([]stats.Socket, error) {
	list, err := s.server.target.Clients(ctx)
	list = append(list, s.server.sockets()...)
	sortSockets(list)
	return list, err
}

func serverRows(ctx context.Context, s *session) ([]row, error) {
	list, err := s.server.target.Servers(ctx)
	sortSockets(list)
	var rows []row
	for i := range list {
		rows = append(rows, append(socketRow(&list[i], serverSocket, ""), list[i].Node, list[i].Reason))
	}
	return rows, err
}

func sortSockets(list []stats.Socket) {
	slices.SortFunc(list, func(a, b stats.Socket) int {
		return cmp.Or(cmp.Compare(a.Database, b.Database), cmp.Compare(a.User, b.User), a.Connected.Compare(b.Connected))
	})
}

func allSocketRows(ctx context.Context, s *session) ([]row, error) {
	return debugRows(ctx, s, func(*stats.Socket) bool { return true })
}

// activeSocketRows are those of sockets that hold bytes.
func activeSocketRows(ctx context.Context, s *session) ([]row, error) {
	return debugRows(ctx, s, func(k *stats.Socket) bool { return k.Unread > 0 || k.Unsent > 0 })
}

func debugRows(ctx context.Context, s *session, which func(*stats.Socket) bool) ([]row, error) {
	clients, err := s.clients(ctx)
	if err != nil {
		return nil, err
	}
	servers, err := s.server.target.Servers(ctx)
	sortSockets(servers)
	var rows []row
	add := func(list []stats.Socket, typ, prefix string) {
		for i := range list {
			if k := &list[i]; which(k) {
				r := append(socketRow(k, typ, prefix), 0, 0, 0, 0, 0, k.Unread, k.Unsent, k.Node, k.Reason)
				rows = append(rows, r)
			}
		}
	}
	add(clients, clientSocket, "cl_")
	add(servers, serverSocket, "sv_")
	return rows, err
}

// socketRow makes the columns that PgBouncer has. Its prefixed states know no
// clients that are idle.
func socketRow(k *stats.Socket, typ, prefix string) row {
	state := prefix + k.State
	if state == "cl_idle" {
		state = "cl_active"
	}
	other := map[string]string{clientSocket: serverSocket, serverSocket: clientSocket}[typ]
	addr, port := address(k.Addr)
	localAddr, localPort := address(k.LocalAddr)
	return row{
		typ, k.User, k.Database, cmp.Or(k.Replication, "none"), state, addr, port, localAddr, localPort,
		k.Connected, k.Requested, int(k.Waited / time.Second), int(k.Waited % time.Second / time.Microsecond), k.CloseNeeded,
		pointer(typ, k.ID), pointer(other, k.Link), k.PID, k.TLS, k.AppName, k.Prepared, k.ID,
	}
}

// pointer is what the columns ptr and link have in the place of an address in
// memory: something that is the same in both.
func pointer(typ string, id uint64) string {
	if id == 0 {
		return ""
	}
	return fmt.Sprintf("%s%x", typ, id)
}

func address(a netip.AddrPort) (string, int) {
	if !a.IsValid() {
		return "unix", 0
	}
	return a.Addr().Unmap().String(), int(a.Port())
}
