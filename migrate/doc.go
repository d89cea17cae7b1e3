// Package migrate makes a configuration of pgvip from one of PgBouncer.
//
//	pgbouncer.ini --ini.go--> entries --convert.go--> settings, notes --yaml.go--> pgvip.yaml
//
// What a setting means, and why one has none here, is config's to know; this
// package only reads the old form and writes the new one. It opens no file
// itself.
package migrate
