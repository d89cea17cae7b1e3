//go:build !linux

package main

import "errors"

// withoutPrivileges changes nothing where there is no virtual IP.
func withoutPrivileges(argv []string) []string { return argv }

const plainCommand = "unprivileged"

func execPlain([]string) error { return errors.New("needs Linux") }
