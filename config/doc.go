// Package config turns pgvip's YAML file into validated plain values.
//
// The file is read strictly: an unknown key, a missing unit, a number out of
// range is a fault. All faults are reported at once, each with its line, column
// and key path, so that one run of "pgvip check" shows all that is wrong.
//
//	bytes --tree.go--> value tree --table.go, keys.go--> Config --check.go--> Config or Faults
//
// keys.go is the one list of keys: name, default, range and the field that it
// fills. The file's form ends there; the rest of pgvip sees only the plain
// fields of Config, with defaults filled in, secrets fetched and durations
// parsed.
//
// The package knows no behaviour: it opens no socket, starts no goroutine, and
// apart from the files that the configuration names for its secrets it reads
// nothing.
package config
