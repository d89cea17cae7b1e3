package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/lib/pq"
)

// driverLimit bounds one run of a driver's script.
const driverLimit = 30 * time.Second

// sameReport runs a script with a Go driver directly and through pgvip, on both
// ports, and wants the same report.
func sameReport(t *testing.T, run func(ctx context.Context, p port, report io.Writer) error) {
	t.Helper()
	eachWay(t, func(t *testing.T, w way) { sameReportIn(t, w, run) }, driverWays()...)
}

func sameReportIn(t *testing.T, w way, run func(ctx context.Context, p port, report io.Writer) error) {
	t.Helper()
	direct, through := ports(t, w)
	for i := range direct {
		t.Run(through[i].name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), driverLimit)
			defer cancel()
			var want, got bytes.Buffer
			if err := run(ctx, direct[i], &want); err != nil {
				t.Fatalf("direct: %v\n%s", err, &want)
			}
			if err := run(ctx, through[i], &got); err != nil {
				t.Fatalf("through pgvip: %v\n%s", err, &got)
			}
			if want.Len() == 0 || got.String() != want.String() {
				t.Errorf("through pgvip:\n%s\ndirect:\n%s", &got, &want)
			}
		})
	}
}

// TestPgx uses each of the five ways in which pgx runs a query.
func TestPgx(t *testing.T) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		t.Run(mode.String(), func(t *testing.T) {
			sameReport(t, func(ctx context.Context, p port, report io.Writer) error {
				config, err := pgx.ParseConfig(url(p.addr))
				if err != nil {
					return err
				}
				config.DefaultQueryExecMode = mode
				conn, err := pgx.ConnectConfig(ctx, config)
				if err != nil {
					return err
				}
				defer conn.Close(ctx)
				err = pgxReads(ctx, conn, report)
				if err == nil && !p.readOnly {
					err = pgxWrites(ctx, conn, p, report)
				}
				return err
			})
		})
	}
}

// pgxReads ends with a failed statement in a transaction, and with what goes on
// after it.
func pgxReads(ctx context.Context, conn *pgx.Conn, report io.Writer) error {
	for i := range 3 { // the second time a statement is in pgx's cache
		if err := query(ctx, conn, report, "SELECT $1::int + 1, $2::text, now() > '2000-01-01', NULL::int", i, "zwei ü"); err != nil {
			return err
		}
	}
	if err := query(ctx, conn, report, "SELECT g, repeat('r', g) FROM generate_series(1, 20) g"); err != nil {
		return err
	}
	if err := pgxBatch(ctx, conn, report); err != nil {
		return err
	}
	tx, err := conn.Begin(ctx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "SELECT 1/$1::int", 0)
	fmt.Fprintln(report, sqlstate(err), string(conn.PgConn().TxStatus()))
	_, err = tx.Exec(ctx, "SELECT 1")
	fmt.Fprintln(report, sqlstate(err))
	if err := tx.Rollback(ctx); err != nil {
		return err
	}
	return query(ctx, conn, report, "SELECT length(repeat('x', 2000000))")
}

func pgxBatch(ctx context.Context, conn *pgx.Conn, report io.Writer) error {
	batch := &pgx.Batch{}
	for i := range 50 {
		batch.Queue("SELECT $1::int * 2", i)
	}
	results := conn.SendBatch(ctx, batch)
	sum := 0
	for range 50 {
		var n int
		if err := results.QueryRow().Scan(&n); err != nil {
			return err
		}
		sum += n
	}
	fmt.Fprintln(report, "batch", sum)
	return results.Close()
}

func pgxWrites(ctx context.Context, conn *pgx.Conn, p port, report io.Writer) error {
	table := "CREATE TEMP TABLE t (a int PRIMARY KEY, b text)"
	if p.shared {
		// Not one of a session: each of these is a transaction by itself.
		table = "DROP TABLE IF EXISTS t; CREATE TABLE t (a int PRIMARY KEY, b text)"
	}
	if _, err := conn.Exec(ctx, table, pgx.QueryExecModeSimpleProtocol); err != nil {
		return err
	}
	rows := make([][]any, 5000)
	for i := range rows {
		rows[i] = []any{i, fmt.Sprint("row ", i)}
	}
	n, err := conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, pgx.CopyFromRows(rows))
	if err != nil {
		return err
	}
	fmt.Fprintln(report, "copied", n)
	n, err = conn.CopyFrom(ctx, pgx.Identifier{"t"}, []string{"a", "b"}, pgx.CopyFromRows(rows[:10]))
	fmt.Fprintln(report, "copied again", n, sqlstate(err))
	if _, err := conn.Exec(ctx, "LISTEN e2e"); err != nil {
		return err
	}
	if _, err := conn.Exec(ctx, "SELECT pg_notify('e2e', $1)", "heard"); err != nil {
		return err
	}
	heard, err := conn.WaitForNotification(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(report, heard.Channel, heard.Payload)
	return query(ctx, conn, report, "SELECT count(*), sum(a), max(b) FROM t")
}

// query reports all rows, and the tag.
func query(ctx context.Context, conn *pgx.Conn, report io.Writer, sql string, args ...any) error {
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		values, err := rows.Values()
		if err != nil {
			return err
		}
		fmt.Fprintln(report, values...)
	}
	fmt.Fprintln(report, rows.CommandTag(), rows.FieldDescriptions())
	return rows.Err()
}

// sqlstate is the SQLSTATE of an error of either driver, "" without one.
func sqlstate(err error) string {
	var fromPgx *pgconn.PgError
	var fromPq *pq.Error
	switch {
	case errors.As(err, &fromPgx):
		return fromPgx.Code
	case errors.As(err, &fromPq):
		return string(fromPq.Code)
	case err != nil:
		return err.Error()
	}
	return ""
}

func TestLibPq(t *testing.T) {
	for _, option := range []string{"", "&binary_parameters=yes"} {
		t.Run("options "+option, func(t *testing.T) {
			sameReport(t, func(ctx context.Context, p port, report io.Writer) error {
				db, err := sql.Open("postgres", url(p.addr)+option)
				if err != nil {
					return err
				}
				defer db.Close()
				db.SetMaxOpenConns(1)
				if err := pqReads(ctx, db, report); err != nil || p.readOnly {
					return err
				}
				return pqWrites(ctx, db, url(p.addr), report)
			})
		})
	}
}

func pqReads(ctx context.Context, db *sql.DB, report io.Writer) error {
	stmt, err := db.PrepareContext(ctx, "SELECT $1::int + 1, $2::text")
	if err != nil {
		return err
	}
	for i := range 3 {
		var n int
		var s string
		if err := stmt.QueryRowContext(ctx, i, "zwei ü").Scan(&n, &s); err != nil {
			return err
		}
		fmt.Fprintln(report, n, s)
	}
	if err := stmt.Close(); err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, "SELECT 1/0")
	fmt.Fprintln(report, sqlstate(err))
	var length int
	err = db.QueryRowContext(ctx, "SELECT length(repeat('x', 2000000))").Scan(&length)
	fmt.Fprintln(report, length)
	return err
}

func pqWrites(ctx context.Context, db *sql.DB, dsn string, report io.Writer) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "CREATE TEMP TABLE t (a int, b text)"); err != nil {
		return err
	}
	stmt, err := tx.PrepareContext(ctx, "COPY t (a, b) FROM STDIN")
	if err != nil {
		return err
	}
	for i := range 3000 {
		if _, err := stmt.ExecContext(ctx, i, strings.Repeat("c", i%50)); err != nil {
			return err
		}
	}
	if _, err := stmt.ExecContext(ctx); err != nil {
		return err
	}
	if err := stmt.Close(); err != nil {
		return err
	}
	var n, sum int
	err = tx.QueryRowContext(ctx, "SELECT count(*), sum(length(b)) FROM t").Scan(&n, &sum)
	fmt.Fprintln(report, n, sum)
	if err != nil {
		return err
	}
	return pqListen(ctx, tx, dsn, report)
}

// pqListen hears on a second connection what the first notifies.
func pqListen(ctx context.Context, tx *sql.Tx, dsn string, report io.Writer) error {
	listener := pq.NewListener(dsn, time.Second, time.Second, nil)
	defer listener.Close()
	if err := listener.Listen("e2e_pq"); err != nil {
		return err
	}
	if _, err := tx.ExecContext(ctx, "NOTIFY e2e_pq, 'heard'"); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	select {
	case n := <-listener.Notify:
		fmt.Fprintln(report, n.Channel, n.Extra)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
