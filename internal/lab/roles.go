package lab

import "strings"

// The roles that every PostgreSQL of the lab has. All passwords are known: none
// of them guards anything.
const (
	// Superuser needs no password.
	Superuser = "postgres"

	// AppUser owns the database AppDatabase. Its password is AppPassword, stored
	// as a SCRAM-SHA-256 verifier, and asked for as such.
	AppUser     = "app"
	AppPassword = "app-secret"
	AppDatabase = "app"

	// MD5User has AppPassword too, stored and asked for as md5.
	MD5User = "app_md5"
	// PlainUser has AppPassword too, asked for in clear text.
	PlainUser = "app_plain"
	// TrustUser needs no password.
	TrustUser = "app_trust"

	// ProbeUser is the role of health checks, a member of pg_monitor; SCRAM.
	ProbeUser     = "probe"
	ProbePassword = "probe-secret"

	// AuthUser may read verifiers through the function
	// public.user_lookup(text) of every database, the usual auth_query; SCRAM.
	AuthUser     = "pgvip_auth"
	AuthPassword = "auth-secret"

	// ReplicationUser may open replication connections; SCRAM.
	ReplicationUser     = "replicator"
	ReplicationPassword = "replicator-secret"
)

// rolesSQL is run by psql in database postgres, once per cluster. The function
// goes into template1 first, so that every database made later has it.
const rolesSQL = `
\set ON_ERROR_STOP on
SET synchronous_commit = local;
SET password_encryption = 'scram-sha-256';
CREATE ROLE app LOGIN PASSWORD 'app-secret';
CREATE ROLE app_plain LOGIN PASSWORD 'app-secret';
CREATE ROLE app_trust LOGIN;
CREATE ROLE probe LOGIN PASSWORD 'probe-secret' IN ROLE pg_monitor;
CREATE ROLE pgvip_auth LOGIN PASSWORD 'auth-secret';
CREATE ROLE replicator LOGIN REPLICATION PASSWORD 'replicator-secret';
SET password_encryption = 'md5';
CREATE ROLE app_md5 LOGIN PASSWORD 'app-secret';
\connect template1
CREATE FUNCTION public.user_lookup(name text, OUT usename text, OUT passwd text)
	LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
	AS 'SELECT rolname, rolpassword FROM pg_authid WHERE rolname = $1 AND rolcanlogin';
REVOKE ALL ON FUNCTION public.user_lookup FROM PUBLIC;
GRANT EXECUTE ON FUNCTION public.user_lookup TO pgvip_auth;
CREATE DATABASE app OWNER app;
\connect app
GRANT CREATE ON SCHEMA public TO PUBLIC;
`

// hbaLines are the lines of pg_hba.conf: those asked for, then the lab's own.
// The first line that matches counts.
func hbaLines(first []string) []string {
	return append(append([]string(nil), first...),
		"local all postgres trust",
		"host all postgres,app_trust 127.0.0.0/8 trust",
		"host all app_md5 127.0.0.0/8 md5",
		"host all app_plain 127.0.0.0/8 password",
		"host all all 127.0.0.0/8 scram-sha-256",
		"host replication postgres 127.0.0.0/8 trust",
		"host replication replicator 127.0.0.0/8 scram-sha-256",
	)
}

// baseParameters are the server settings of the lab, in postgresql.conf's own
// form: no setting here changes what a client sees, but for the speed.
func baseParameters(more map[string]string) map[string]string {
	all := map[string]string{
		// A lab need not survive the machine's crash; a killed process loses
		// nothing by these.
		"fsync":            "off",
		"full_page_writes": "off",
		// In the data directory: what a killed server leaves in /dev/shm nobody
		// would remove.
		"dynamic_shared_memory_type": "mmap",
		"shared_buffers":             "32MB",
		"max_connections":            "200",
		"wal_level":                  "replica",
		"wal_log_hints":              "on", // for pg_rewind
		"max_wal_senders":            "10",
		"log_checkpoints":            "off",
		"log_line_prefix":            "%m [%p] %q%u@%d ",
	}
	for name, value := range more {
		all[name] = value
	}
	return all
}

// quoteConf quotes a value for postgresql.conf.
func quoteConf(value string) string {
	return "'" + strings.ReplaceAll(strings.ReplaceAll(value, `\`, `\\`), "'", "''") + "'"
}
