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
	` pg_catalog.pg_wal_lsn_diff(CASE WHEN r THEN pg_catalog.pg_last_wal_replay_lsn() ELSE pg_catalog.pg_current_wal_lsn() END, '0/0'),` +
	` CASE WHEN r THEN pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), '0/0') END,` +
	` CASE WHEN r THEN pg_catalog.date_part('epoch', pg_catalog.pg_last_xact_replay_timestamp()) END,` +
	` CASE WHEN r THEN (SELECT coalesce(w.status, 'hidden') FROM pg_catalog.pg_stat_wal_receiver AS w) END` +
	` FROM (SELECT pg_catalog.pg_is_in_recovery() AS r) AS s`

// answer is what a node said.
type answer struct {
	inRecovery bool
	systemID   string
	timeline   uint32 // 0 in recovery
	lsn        uint64
	asked      time.Time

	// In recovery, where they are known.
	receiveLSN uint64
	replayedAt time.Time
	receiver   string
}

// parseAnswer reads the row that question gives.
func parseAnswer(rows [][]string) (answer, error) {
	if len(rows) != 1 || len(rows[0]) != 7 {
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
	a.receiver = row[6]
	var err error
	if a.lsn, err = position(row[3]); err != nil {
		return answer{}, err
	}
	if a.receiveLSN, err = position(row[4]); err != nil {
		return answer{}, err
	}
	if row[5] != "" {
		seconds, err := strconv.ParseFloat(row[5], 64)
		if err != nil {
			return answer{}, fmt.Errorf("probe answer: time of the last replay: %w", err)
		}
		a.replayedAt = time.UnixMicro(int64(seconds * 1e6))
	}
	return a, nil
}

// position reads one in the WAL; NULL, until there is one, is 0.
func position(text string) (uint64, error) {
	if text == "" {
		return 0, nil
	}
	lsn, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("probe answer: position: %w", err)
	}
	return lsn, nil
}
