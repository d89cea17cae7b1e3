package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Fault is one thing wrong with a configuration.
type Fault struct {
	File string `json:"file"`
	// Line and Column count from 1; both are 0 for a file that could not be
	// read. What is missing is reported where it should have stood: at its
	// section, or at 1:1.
	Line   int `json:"line"`
	Column int `json:"column"`
	// Path is the key with its sections, "probe.inter"; "" when the file as a
	// whole is meant.
	Path string `json:"path"`
	// Text is the rest of a sentence that begins with the path: "must be at
	// least 1, is 0". It never holds a secret.
	Text string `json:"text"`
}

// Error gives "file:line:column: key.path: text" on one line.
func (f Fault) Error() string {
	where := f.File + ": "
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d: ", f.File, f.Line, f.Column)
	}
	if f.Path != "" {
		where += f.Path + ": "
	}
	return where + f.Text
}

// Faults is everything wrong with a configuration, in the order of the file.
// It is never empty when it is returned as an error.
type Faults []Fault

// Error gives one line for each fault.
func (fs Faults) Error() string {
	lines := make([]string, len(fs))
	for i, f := range fs {
		lines[i] = f.Error()
	}
	return strings.Join(lines, "\n")
}

// sorted orders by place, and keeps the order in which faults at one place were
// found.
func (fs Faults) sorted() Faults {
	slices.SortStableFunc(fs, func(a, b Fault) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return fs
}
