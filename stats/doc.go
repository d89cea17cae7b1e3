// Package stats holds what the parts of pgvip count and report, as plain values:
// whoever owns one adds to it without a lock, and gives copies to those who ask.
// It knows nobody, has no registry and starts nothing.
package stats
