//go:build ignore

// Command capture writes what a real PgBouncer's console says: the columns of
// every SHOW, and how each command of commands.sql ends.
//
//	go run capture.go 127.0.0.1:6432 admin
//
// PgBouncer must trust the admin, know a database app, and any other name by "*".
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

func main() {
	log.SetFlags(0)
	host, port, _ := strings.Cut(os.Args[1], ":")
	conn, err := pgconn.Connect(context.Background(),
		fmt.Sprintf("host=%s port=%s user=%s database=pgbouncer sslmode=disable", host, port, os.Args[2]))
	if err != nil {
		log.Fatal(err)
	}
	save("columns.txt", columns(conn))
	save("commands.txt", commands(conn))
}

func save(name, text string) {
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}
}

// columns gives a line for each SHOW: its name, then name:oid:size of each column.
func columns(conn *pgconn.PgConn) string {
	var b strings.Builder
	for _, show := range strings.Fields(`ACTIVE_SOCKETS CLIENTS CONFIG DATABASES DNS_HOSTS DNS_ZONES LISTS MEM
		PEERS PEER_POOLS POOLS SERVERS SOCKETS STATE STATS STATS_AVERAGES STATS_TOTALS TOTALS USERS VERSION`) {
		answer := conn.Exec(context.Background(), "SHOW "+show)
		b.WriteString(show)
		for answer.NextResult() {
			rows := answer.ResultReader()
			for _, f := range rows.FieldDescriptions() {
				fmt.Fprintf(&b, " %s:%d:%d", f.Name, f.DataTypeOID, f.DataTypeSize)
			}
			rows.Close()
		}
		if err := answer.Close(); err != nil {
			log.Fatalf("SHOW %s: %v", show, err)
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// commands gives each line of commands.sql and how it ended.
func commands(conn *pgconn.PgConn) string {
	f, err := os.Open("commands.sql")
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	var b strings.Builder
	for in := bufio.NewScanner(f); in.Scan(); {
		b.WriteString(in.Text() + "\n    " + outcome(conn, in.Text()) + "\n")
	}
	return b.String()
}

func outcome(conn *pgconn.PgConn, sql string) string {
	results, err := conn.Exec(context.Background(), sql).ReadAll()
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e):
		return e.Severity + ": " + e.Message
	case err != nil:
		log.Fatalf("%s: %v", sql, err)
	case len(results) != 1:
		return fmt.Sprintf("%d results", len(results))
	}
	return results[0].CommandTag.String()
}
