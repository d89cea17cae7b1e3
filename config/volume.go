package config

import (
	"fmt"
	"strconv"
	"strings"
)

// volumeUnits are PostgreSQL's, of which each is 1024 of the one before.
var volumeUnits = []string{"B", "kB", "MB", "GB"}

// volume reads a number of bytes: "256MB", "1GB", or a plain number, as SHOW CONFIG
// prints it.
func volume(least int64) func(string) (int64, error) {
	return func(text string) (int64, error) {
		number, unit := strings.TrimSpace(text), int64(1)
		for i := len(volumeUnits) - 1; i >= 0; i-- {
			if rest, ok := strings.CutSuffix(number, volumeUnits[i]); ok {
				number, unit = strings.TrimSpace(rest), int64(1)<<(10*i)
				break
			}
		}
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil || n < 0 || n > 1<<50/unit:
			return 0, fmt.Errorf(`must be a number of bytes like "512kB", "256MB" or "1GB", is %q`, text)
		case n*unit < least:
			return 0, fmt.Errorf("must be at least %d, is %s", least, text)
		}
		return n * unit, nil
	}
}
