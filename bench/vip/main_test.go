package vip

import (
	"context"
	"fmt"
	"os"
	"testing"
)

// TestMain runs the tests in a network namespace of their own where that is possible;
// elsewhere those that need one are skipped.
func TestMain(m *testing.M) {
	if Check() == nil && os.Getenv("PGVIP_LAB") != "off" && !InOwnNetwork() {
		os.Exit(Again())
	}
	if InOwnNetwork() {
		if err := OwnNetwork(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
	os.Exit(m.Run())
}
