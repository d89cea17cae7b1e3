package admin

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/pgvip/pgvip/stats"
)

func contextOf(t *testing.T) (context.Context, func()) {
	t.Helper()
	return context.WithCancel(t.Context())
}

func registryOf(s *stage) *prometheus.Registry {
	r := prometheus.NewRegistry()
	r.MustRegister(&collector{&gatherer{source: s, began: time.Now()}})
	return r
}

// What promtool would say of names, units and help texts. PgBouncer's exporter's
// names are what they are.
func TestMetricsPassTheLinter(t *testing.T) {
	for name, s := range states() {
		problems, err := testutil.GatherAndLint(registryOf(s))
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, p := range problems {
			if !strings.HasPrefix(p.Metric, "pgbouncer_") {
				t.Errorf("%s: %s: %s", name, p.Metric, p.Text)
			}
		}
	}
}

func TestMetricsTellOfTheCluster(t *testing.T) {
	want := `
# HELP pgvip_route_epoch Epoch of the primary: raised when it changes or is fenced.
# TYPE pgvip_route_epoch gauge
pgvip_route_epoch 4
# HELP pgvip_route_primary_info Which server is the proven primary; always 1.
# TYPE pgvip_route_primary_info gauge
pgvip_route_primary_info{server="n1"} 1
# HELP pgvip_proxy_clients Clients that are logged in.
# TYPE pgvip_proxy_clients gauge
pgvip_proxy_clients{role="primary"} 400
pgvip_proxy_clients{role="replica"} 12
# HELP pgvip_health_server_lag_bytes WAL that a replica has still to replay.
# TYPE pgvip_health_server_lag_bytes gauge
pgvip_health_server_lag_bytes{server="n2"} 0
pgvip_health_server_lag_bytes{server="n3"} 81920
`
	if err := testutil.GatherAndCompare(registryOf(healthy()), strings.NewReader(want),
		"pgvip_route_epoch", "pgvip_route_primary_info", "pgvip_proxy_clients", "pgvip_health_server_lag_bytes"); err != nil {
		t.Error(err)
	}
}

// The names and labels of prometheus-community/pgbouncer_exporter 0.12, which
// dashboards ask for.
func TestMetricsHaveTheNamesOfPgBouncersExporter(t *testing.T) {
	families, err := registryOf(healthy()).Gather()
	if err != nil {
		t.Fatal(err)
	}
	have := map[string]string{}
	for _, f := range families {
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		have[f.GetName()] = strings.Join(labels, ",")
	}
	for labels, names := range map[string]string{
		"database,user": `pools_client_active_connections pools_client_waiting_connections pools_client_active_cancel_connections
			pools_client_waiting_cancel_connections pools_server_active_connections pools_server_active_cancel_connections
			pools_server_being_canceled_connections pools_server_idle_connections pools_server_used_connections
			pools_server_testing_connections pools_server_login_connections pools_client_maxwait_seconds`,
		"database,force_user,host,name,pool_mode,port": `databases_pool_size databases_reserve_pool databases_max_connections
			databases_current_connections databases_paused databases_disabled`,
		"database": `stats_totals_queries_pooled_total stats_totals_queries_duration_seconds_total stats_totals_received_bytes_total
			stats_totals_sent_bytes_total stats_totals_client_wait_seconds_total stats_totals_sql_transactions_pooled_total
			stats_totals_server_in_transaction_seconds_total stats_totals_client_parses_total stats_totals_server_parses_total
			stats_totals_binds_total`,
		"":        `up databases users pools free_clients used_clients free_servers used_servers config_max_client_connections`,
		"version": "version_info",
	} {
		for _, name := range strings.Fields(names) {
			got, ok := have["pgbouncer_"+name]
			if !ok || got != labels {
				t.Errorf("pgbouncer_%s{%s}: there %v, want labels %s", name, got, ok, labels)
			}
		}
	}
}

func TestSeriesAreBoundedAndValid(t *testing.T) {
	s := healthy()
	for i := range 3 * maxSeries {
		name := "db\xff" + strings.Repeat("x", i)
		s.load.Databases = append(s.load.Databases, Database{Name: name[:min(len(name), 3+i)]})
		s.load.Pools = append(s.load.Pools, stats.Pool{Database: name, User: "u"})
	}
	n, err := testutil.GatherAndCount(registryOf(s), "pgbouncer_pools_server_idle_connections")
	if err != nil {
		t.Fatal(err)
	}
	if n != maxSeries {
		t.Errorf("%d series of pools, want %d", n, maxSeries)
	}
}
