package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// PSS is the program's memory in bytes: what is its own, and its share of what
// it shares with others (proportional set size).
func (p *Process) PSS() (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	n, err := parsePSS(string(text))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	return n, nil
}

// parsePSS finds "Pss:  1234 kB".
func parsePSS(text string) (int64, error) {
	for line := range strings.Lines(text) {
		fields := strings.Fields(line)
		if len(fields) != 3 || fields[0] != "Pss:" || fields[2] != "kB" {
			continue
		}
		kb, err := strconv.ParseInt(fields[1], 10, 64)
		return kb << 10, err
	}
	return 0, fmt.Errorf("no Pss in smaps_rollup")
}
