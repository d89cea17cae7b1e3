package console

import (
	"context"
	"time"

	"github.com/pgvip/pgvip/stats"
)

// counters gives what PgBouncer counts, in the order of its columns.
func counters(t *stats.Traffic) row {
	return row{t.Assignments, t.Xacts, t.Queries, t.Received, t.Sent, t.XactTime, t.QueryTime, t.WaitTime,
		t.ClientParses, t.ServerParses, t.Binds}
}

// latencies are our own columns: quantiles in microseconds, since start.
func latencyColumns() []column {
	return columns(numeric, "xact_time_p50", "xact_time_p99", "query_time_p50", "query_time_p99",
		"wait_time_p50", "wait_time_p99")
}

func latencies(t *Traffic) row {
	var r row
	for _, h := range []*stats.Histogram{&t.Xact, &t.Query, &t.Wait} {
		r = append(r, h.Quantile(0.5), h.Quantile(0.99))
	}
	return r
}

func statsColumns() []column {
	return join(columns(text, "database"),
		columns(numeric, "total_server_assignment_count", "total_xact_count", "total_query_count", "total_received",
			"total_sent", "total_xact_time", "total_query_time", "total_wait_time", "total_client_parse_count",
			"total_server_parse_count", "total_bind_count",
			"avg_server_assignment_count", "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent", "avg_xact_time",
			"avg_query_time", "avg_wait_time", "avg_client_parse_count", "avg_server_parse_count", "avg_bind_count"),
		latencyColumns())
}

func statsRows(ctx context.Context, s *session) ([]row, error) {
	return trafficRows(ctx, s, func(t *Traffic) row {
		r := append(row{t.Database}, counters(&t.Total)...)
		return append(append(r, counters(&t.Average)...), latencies(t)...)
	})
}

func statsTotalsColumns() []column {
	return join(columns(text, "database"), columns(numeric, "server_assignment_count", "xact_count", "query_count",
		"bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time",
		"client_parse_count", "server_parse_count", "bind_count"))
}

func statsTotalsRows(ctx context.Context, s *session) ([]row, error) {
	return trafficRows(ctx, s, func(t *Traffic) row { return append(row{t.Database}, counters(&t.Total)...) })
}

func statsAveragesColumns() []column {
	return join(columns(text, "database"), columns(numeric, "server_assignment_count", "xact_count", "query_count",
		"bytes_received", "bytes_sent", "xact_time", "query_time", "wait_time",
		"avg_client_parse_count", "avg_server_parse_count", "avg_bind_count"))
}

func statsAveragesRows(ctx context.Context, s *session) ([]row, error) {
	return trafficRows(ctx, s, func(t *Traffic) row { return append(row{t.Database}, counters(&t.Average)...) })
}

// trafficRows makes a row for each database, and one for the console itself.
func trafficRows(ctx context.Context, s *session, make func(*Traffic) row) ([]row, error) {
	list, err := s.traffic(ctx)
	if err != nil {
		return nil, err
	}
	var rows []row
	for i := range list {
		rows = append(rows, make(&list[i]))
	}
	return rows, nil
}

// traffic is that of all databases, the console's own included.
func (s *session) traffic(ctx context.Context) ([]Traffic, error) {
	list, err := s.server.target.Traffic(ctx)
	n := s.server.queries.Load()
	return append(list, Traffic{Database: adminDatabase, Total: stats.Traffic{Xacts: n, Queries: n}}), err
}

// totalNames are the names of SHOW TOTALS, in the order of counters.
var totalNames = []string{"server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes",
	"xact_time", "query_time", "wait_time", "ps_client_parse_count", "ps_server_parse_count", "ps_bind_count"}

func totalsRows(ctx context.Context, s *session) ([]row, error) {
	list, err := s.traffic(ctx)
	if err != nil {
		return nil, err
	}
	var total, average stats.Traffic
	var xacts, queries, lent time.Duration // each average time, by how often
	for i := range list {
		t, a := &list[i].Total, &list[i].Average
		total.Add(t)
		xacts += a.XactTime * time.Duration(a.Xacts)
		queries += a.QueryTime * time.Duration(a.Queries)
		lent += a.WaitTime * time.Duration(a.Assignments)
		average.Add(a)
	}
	average.XactTime = xacts / time.Duration(max(average.Xacts, 1))
	average.QueryTime = queries / time.Duration(max(average.Queries, 1))
	average.WaitTime = lent / time.Duration(max(average.Assignments, 1))
	var rows []row
	for i, v := range counters(&total) {
		rows = append(rows, row{"total_" + totalNames[i], v})
	}
	for i, v := range counters(&average) {
		rows = append(rows, row{"avg_" + totalNames[i], v})
	}
	return rows, nil
}
