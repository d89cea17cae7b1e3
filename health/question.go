package health

import (
	"fmt"
	"strconv"
	"time"
)

// question is asked at every probe. The timeline is the one being written, from
// the name of the WAL file: pg_control_checkpoint still shows the old one until
// the first checkpoint after a promotion. CASE keeps a standby from calling what
// it must not.
const question = `SELECT r,` +
	` (SELECT system_identifier FROM pg_catalog.pg_control_system()),` +
	` CASE WHEN r THEN '' ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END,` +
	` pg_catalog.pg_wal_lsn_diff(CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, '0/0')` +
	` FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) AS s`

// answer is what a node said.
type answer struct {
	inRecovery bool
	systemID   string
	timeline   uint32 // 0 in recovery
	lsn        uint64
	asked      time.Time
}

// parseAnswer reads the row that question gives.
func parseAnswer(rows [][]string) (answer, error) {
	if len(rows) != 1 || len(rows[0]) != 4 {
		return answer{}, fmt.Errorf("probe answer: %d rows", len(rows))
	}
	row := rows[0]
	a := answer{systemID: row[1]}
	switch row[0] {
	case "t":
		a.inRecovery = true
	case "f":
		timeline, err := strconv.ParseUint(row[2], 16, 32)
		if err != nil {
			return answer{}, fmt.Errorf("probe answer: timeline: %w", err)
		}
		a.timeline = uint32(timeline)
	default:
		return answer{}, fmt.Errorf("probe answer: pg_is_in_recovery is %q", row[0])
	}
	if row[3] != "" { // NULL until the first replay
		lsn, err := strconv.ParseUint(row[3], 10, 64)
		if err != nil {
			return answer{}, fmt.Errorf("probe answer: position: %w", err)
		}
		a.lsn = lsn
	}
	return a, nil
}
