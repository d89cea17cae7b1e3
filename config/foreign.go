package config

import (
	"slices"
	"strings"
)

// unknown reports a key that is not ours, with what may have been meant.
func (r *reader) unknown(e entry) {
	path := e.value.path
	if text, ok := foreign(path); ok {
		r.fault(e.at, path, "%s", text)
		return
	}
	if near := nearest(path); near != "" {
		r.fault(e.at, path, "is not a known key, did you mean %s?", near)
		return
	}
	r.fault(e.at, path, "is not a known key")
}

// nearest gives the key that a mistyped path most likely means, "" when none is
// near: the same name in another section, or a similar name in the same one.
func nearest(path string) string {
	section, name := split(path)
	best, bestDistance := "", 1+max(1, len(name)/3)
	for _, known := range knownPaths() {
		s, n := split(known)
		if n == name {
			return known
		}
		if !sameSection(s, section) {
			continue
		}
		if dist := distance(name, n); dist < bestDistance {
			best, bestDistance = join(section, n), dist
		}
	}
	return best
}

// knownPaths lists every key and every section.
func knownPaths() []string {
	var paths []string
	for _, d := range describe(topKeys(), "") {
		for p := d.path; p != ""; p, _ = split(p) {
			if _, last := split(p); last != "*" && !slices.Contains(paths, p) {
				paths = append(paths, p)
			}
		}
	}
	return paths
}

// split parts a path into its section and the last key.
func split(path string) (section, name string) {
	i := strings.LastIndexByte(path, '.')
	return path[:max(i, 0)], path[i+1:]
}

// sameSection compares the section of a described key with one of a file;
// "databases.*" stands for every database.
func sameSection(described, section string) bool {
	group, overrides := strings.CutSuffix(described, ".*")
	if !overrides {
		return described == section
	}
	return strings.HasPrefix(section, group+".")
}

// distance is the number of edits (insert, delete, replace, swap of neighbours)
// between two words.
func distance(a, b string) int {
	var before []int // the row before last, for swaps
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row := make([]int, len(b)+1)
		row[0] = i + 1
		for j := range len(b) {
			replace := last[j]
			if a[i] != b[j] {
				replace++
			}
			row[j+1] = min(replace, last[j+1]+1, row[j]+1)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// foreign gives the sentence about a key that operators know from another
// program.
func foreign(path string) (string, bool) {
	section, name := split(path)
	for _, group := range foreignKeys() {
		for _, p := range group.paths {
			if s, n := split(p); n == name && sameSection(s, section) {
				return group.text, true
			}
		}
	}
	return "", false
}

type foreignGroup struct {
	text  string
	paths []string
}

// foreignKeys are PgBouncer's keys that have no meaning here (rule 18).
func foreignKeys() []foreignGroup {
	return []foreignGroup{
		{"is PgBouncer's: pgvip listens where listen.primary and listen.replicas say", []string{
			"listen_addr", "listen_port", "host", "port"}},
		{"is PgBouncer's: write it below listen", []string{
			"unix_socket_dir", "unix_socket_mode", "unix_socket_group"}},
		{"is PgBouncer's: pgvip finds the nodes through Patroni's keys in etcd", []string{
			"load_balance_hosts", "databases.*.host", "databases.*.port", "databases.*.load_balance_hosts"}},
		{"is PgBouncer's: one pgvip process uses all CPUs, see loops", []string{"so_reuseport"}},
		{"is PgBouncer's: pgvip stays in the foreground and writes no pid file; the service manager knows the pid", []string{
			"pidfile", "conffile", "job_name", "service_name"}},
		{"is PgBouncer's: the service manager starts pgvip as the right user", []string{"user"}},
		{"is PgBouncer's: pgvip logs to standard output, see log.level and log.format", []string{
			"logfile", "syslog", "syslog_ident", "syslog_facility"}},
		{"is PgBouncer's: names are resolved by the system's resolver, and the last address holds when that fails", []string{
			"resolv_conf", "dns_zone_check_period", "dns_nxdomain_ttl"}},
		{"is PgBouncer's: buffers belong to the event loops and are not sized by hand", []string{
			"pkt_buf", "sbuf_loopcnt", "tcp_socket_buffer"}},
		{"is PgBouncer's: messages are streamed and never held whole, so their size needs no limit", []string{
			"max_packet_size"}},
		{"is PgBouncer's: it has no use in pgvip", []string{
			"disable_pqexec", "tcp_defer_accept", "autodb_idle_timeout", "suspend_timeout"}},
		{"is PgBouncer's: startup parameters need no list, none is refused and none is dropped", []string{
			"ignore_startup_parameters"}},
		{"is PgBouncer's: every parameter that PostgreSQL reports is tracked, without a list", []string{
			"track_extra_parameters"}},
		{"is PgBouncer's: a client names itself", []string{"databases.*.application_name"}},
		{"is PgBouncer's: write reserve_pool_size", []string{"databases.*.reserve_pool"}},
		{"is PgBouncer's: pgvip does not do LDAP", []string{"auth_ldap_options"}},
		{"is PgBouncer's: the cipher suites of TLS 1.3 are not chosen by hand, all of them are good", []string{
			"client_tls13_ciphers", "server_tls13_ciphers"}},
		{"is PgBouncer's: pgvip has no cipher suites that use DHE, see client_tls_ecdhcurve", []string{
			"client_tls_dheparams"}},
		{"is PgBouncer's: the other pgvip are in cluster.peers", []string{"peers"}},
		{"is newer than PgBouncer 1.25 and not supported", []string{"pool_idle_timeout", "login_notify_message"}},
	}
}
