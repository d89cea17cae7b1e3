package admin

import (
	"context"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/pgvip/pgvip/stats"
)

// maxSeries bounds the databases, and the pools, that have metrics of their own.
const maxSeries = 1000

// collector gives a View to Prometheus. It is an unchecked one: which servers and
// databases there are is known only at a scrape.
type collector struct{ gather *gatherer }

// Describe implements prometheus.Collector.
func (c *collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	v := c.gather.view(context.Background()) // it waits for patience at most
	m := &meter{ch}
	m.process(&v)
	m.route(&v)
	m.source(&v)
	m.vip(v.VIP)
	m.cluster(v.Cluster)
	for i := range v.Servers {
		m.server(&v, &v.Servers[i])
	}
	for i := range v.Ports {
		m.port(&v.Ports[i])
	}
	// Whoever makes a database or a role makes series: there has to be an end.
	v.Databases, v.Pools = v.Databases[:min(len(v.Databases), maxSeries)], v.Pools[:min(len(v.Pools), maxSeries)]
	for i := range v.Databases {
		m.database(&v.Databases[i])
	}
	for i := range v.Counters {
		m.counter(&v.Counters[i])
	}
	m.pgbouncer(&v)
}

// processCollectors tell of the process and the Go runtime, under their usual names.
func processCollectors() []prometheus.Collector {
	return []prometheus.Collector{
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		collectors.NewGoCollector(),
	}
}

// meter writes metrics. Labels are pairs of a name and a value.
type meter struct{ ch chan<- prometheus.Metric }

func (m *meter) gauge(name, help string, value float64, labels ...string) {
	m.send(name, help, prometheus.GaugeValue, value, labels)
}

func (m *meter) total(name, help string, value float64, labels ...string) {
	m.send(name, help, prometheus.CounterValue, value, labels)
}

func (m *meter) send(name, help string, kind prometheus.ValueType, value float64, labels []string) {
	names, values := pairs(labels)
	m.ch <- prometheus.MustNewConstMetric(prometheus.NewDesc(name, help, names, nil), kind, value, values...)
}

// pairs parts names and values. What clients called a database need not be UTF-8,
// which Prometheus would not take.
func pairs(labels []string) (names, values []string) {
	for i := 0; i+1 < len(labels); i += 2 {
		names, values = append(names, labels[i]), append(values, strings.ToValidUTF8(labels[i+1], "\uFFFD"))
	}
	return names, values
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func (m *meter) process(v *View) {
	m.gauge("pgvip_build_info", "Which binary this is; always 1.", 1, "version", v.Build.Version, "commit", v.Build.Commit, "goversion", v.Build.Go)
	m.gauge("pgvip_start_time_seconds", "When pgvip started, seconds since the epoch.", float64(v.Started.UnixMilli())/1000)
	m.gauge("pgvip_ready", "1 while clients should be sent here, as /readyz says.", truth(v.Ready && !v.Stopping))
	if v.LoadAge >= 0 {
		m.gauge("pgvip_loop_answer_age_seconds", "Age of what the event loops said of pools and sessions.", v.LoadAge)
	}
}

func (m *meter) route(v *View) {
	m.gauge("pgvip_route_epoch", "Epoch of the primary: raised when it changes or is fenced.", float64(v.Epoch))
	m.gauge("pgvip_route_primary", "1 while a primary is proven.", truth(v.Primary != nil))
	if v.Primary != nil {
		m.gauge("pgvip_route_primary_info", "Which server is the proven primary; always 1.", 1, "server", v.Primary.Name)
	}
	m.gauge("pgvip_route_primary_since_seconds", "How long there has been this primary, or none.", v.At.Sub(v.Since).Seconds())
	m.gauge("pgvip_route_hold", "1 while new transactions wait for an announced switchover.", truth(v.Hold != nil))
	m.gauge("pgvip_route_alarms", "Alarms that stand.", float64(len(v.Alarms)))
}

func (m *meter) source(v *View) {
	s := &v.Source
	for _, grade := range []string{"FRESH", "STALE", "BLIND"} {
		m.gauge("pgvip_dcs_freshness", "1 for the grade of the news about the cluster, 0 for the others.", truth(s.Freshness == grade), "grade", strings.ToLower(grade))
	}
	if s.Age >= 0 {
		m.gauge("pgvip_dcs_news_age_seconds", "Age of the news about the cluster.", s.Age)
	}
	for _, e := range s.Endpoints {
		if e.Age >= 0 {
			m.gauge("pgvip_dcs_endpoint_answer_age_seconds", "Age of the last answer of an endpoint.", e.Age, "endpoint", e.Name)
		}
	}
}

func (m *meter) server(v *View, s *Server) {
	label := []string{"server", s.Name}
	with := func(more ...string) []string { return append([]string{"server", s.Name}, more...) }
	m.gauge("pgvip_health_server_up", "1 while a server answers its checks.", truth(s.State == Up), label...)
	m.gauge("pgvip_route_server_serves", "1 while clients of a role are led to a server.", truth(s.Writes), with("role", rolePrimary)...)
	m.gauge("pgvip_route_server_serves", "1 while clients of a role are led to a server.", truth(s.Reads), with("role", roleReplica)...)
	if s.Lag >= 0 {
		m.gauge("pgvip_health_server_lag_bytes", "WAL that a replica has still to replay.", float64(s.Lag), label...)
	}
	if s.LagTime >= 0 {
		m.gauge("pgvip_health_server_lag_seconds", "How long a replica has been behind.", s.LagTime, label...)
	}
	if !s.Check.At.IsZero() {
		m.gauge("pgvip_health_check_age_seconds", "Time since the last check of a server ended.", v.At.Sub(s.Check.At).Seconds(), label...)
		m.gauge("pgvip_health_check_duration_seconds", "How long the last check of a server took.", s.Check.Took, label...)
	}
	for _, u := range []struct {
		role string
		use  *Use
	}{{rolePrimary, &s.Primary}, {roleReplica, &s.Replica}} {
		m.use(u.use, "server", s.Name, "role", u.role)
	}
}

func (m *meter) use(u *Use, labels ...string) {
	with := func(state string) []string { return append(append([]string(nil), labels...), "state", state) }
	const servers = "Connections to a server by what they do."
	m.gauge("pgvip_pool_server_connections", servers, float64(u.Active), with("active")...)
	m.gauge("pgvip_pool_server_connections", servers, float64(u.Idle), with("idle")...)
	m.gauge("pgvip_pool_server_connections", servers, float64(u.Testing), with("tested")...)
	m.gauge("pgvip_pool_server_connections", servers, float64(u.Login), with("login")...)
	m.gauge("pgvip_pool_waiting_clients", "Clients in queues for a server.", float64(u.Waiting), labels...)
	m.gauge("pgvip_pool_oldest_wait_seconds", "How long the oldest of them has waited.", u.MaxWait, labels...)
	m.total("pgvip_pool_assignments_total", "Connections lent to clients.", float64(u.Assignments), labels...)
	m.total("pgvip_pool_received_bytes_total", "Bytes from clients for a server.", float64(u.Received), labels...)
	m.total("pgvip_pool_sent_bytes_total", "Bytes from a server to clients.", float64(u.Sent), labels...)
}

func (m *meter) port(p *Port) {
	m.gauge("pgvip_proxy_clients", "Clients that are logged in.", float64(p.Clients), "role", p.Role)
	m.gauge("pgvip_proxy_waiting_clients", "Clients that wait for a server, whether there is one to go to or not.", float64(p.Waiting), "role", p.Role)
	m.gauge("pgvip_proxy_oldest_wait_seconds", "How long the oldest of them has waited.", p.MaxWait, "role", p.Role)
	m.total("pgvip_proxy_logins_total", "Logins of clients that went through.", float64(p.Logins), "role", p.Role)
}

func (m *meter) database(d *Database) {
	t := &d.Traffic
	m.histogram("pgvip_pool_query_duration_seconds", "From a request to its end.", t.query, t.QueryTime, "database", d.Name)
	m.histogram("pgvip_pool_transaction_duration_seconds", "From the first request of a transaction to its end.", t.xact, t.XactTime, "database", d.Name)
	m.histogram("pgvip_pool_wait_duration_seconds", "Time of clients in queues until they were lent a server.", t.wait, t.WaitTime, "database", d.Name)
}

// bounds are those of the histograms: powers of four times 64 µs, up to a minute.
func bounds() []time.Duration {
	var list []time.Duration
	for us := time.Duration(64); us <= 1<<26; us *= 4 {
		list = append(list, us*time.Microsecond)
	}
	return list
}

func (m *meter) histogram(name, help string, h *stats.Histogram, sum float64, labels ...string) {
	if h == nil {
		return
	}
	buckets := map[float64]uint64{}
	for _, b := range bounds() {
		buckets[b.Seconds()] = h.Below(b)
	}
	names, values := pairs(labels)
	m.ch <- prometheus.MustNewConstHistogram(prometheus.NewDesc(name, help, names, nil), h.Count(), sum, buckets, values...)
}

func (m *meter) counter(c *Counter) {
	var labels []string
	if c.Label != "" {
		labels = []string{c.Label, c.Of}
	}
	if c.Gauge {
		m.gauge(c.Name, c.Help, c.Value, labels...)
		return
	}
	m.total(c.Name, c.Help, c.Value, labels...)
}
