package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/pgvip/pgvip/config"
)

// A pipe that nobody reads takes 64 KB and then blocks its writer for ever.
func TestStuckStandardOutputStallsNothing(t *testing.T) {
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	defer writer.Close()
	log, queue := newLogger(config.Log{Level: "info", Format: "json"}, zap.NewAtomicLevel(), writer)
	const lines = 50_000 // several times what pipe and queue hold
	for n := range lines {
		log.Info("a line of the usual length", zap.Int("n", n), zap.String("client", "192.0.2.1:40000"))
	}
	if queue.Dropped() == 0 {
		t.Fatal("no line was dropped, so nothing was stuck")
	}
	written, missing := readLog(t, reader, queue)
	if written+missing != lines {
		t.Errorf("%d lines written and %d told missing, want %d together", written, missing, lines)
	}
}

// readLog empties the log until the queue is closed. It gives the number of
// lines and the sum of those that the log says are missing.
func readLog(t *testing.T, reader *os.File, queue *logQueue) (written, missing int) {
	t.Helper()
	// Only a broken queue runs into it: the lines that are told missing never come.
	if err := reader.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	total := int(queue.Dropped())
	scan := bufio.NewScanner(reader)
	for missing < total && scan.Scan() {
		var line struct {
			Msg   string
			Lines int
		}
		if err := json.Unmarshal(scan.Bytes(), &line); err != nil {
			t.Fatalf("line %q: %v", scan.Text(), err)
		}
		if line.Msg == "log lines dropped" {
			missing += line.Lines
			continue
		}
		written++
	}
	if err := queue.Close(); err != nil {
		t.Errorf("Close after the reader came back: %v", err)
	}
	return written, missing
}

func TestSyncWaitsForWhatWasAccepted(t *testing.T) {
	var out bytes.Buffer
	log, queue := newLogger(config.Log{Level: "info", Format: "console"}, zap.NewAtomicLevel(), &out)
	log.Info("listening", zap.String("role", "primary"))
	log.Debug("not at this level")
	if err := log.Sync(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "listening") || strings.Contains(got, "not at") {
		t.Errorf("log = %q, want the info line and no other", got)
	}
	if err := queue.Close(); err != nil {
		t.Error(err)
	}
	log.Info("after the end")
	if queue.Dropped() != 1 {
		t.Errorf("Dropped() = %d after a line to a closed queue, want 1", queue.Dropped())
	}
}

func TestCloseGivesUpOnStuckReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reader, writer := io.Pipe()
		log, queue := newLogger(config.Log{Level: "info", Format: "json"}, zap.NewAtomicLevel(), writer)
		log.Info("never read")
		began := time.Now()
		if err := queue.Close(); !errors.Is(err, errLogStuck) {
			t.Errorf("Close = %v, want %v", err, errLogStuck)
		}
		if took := time.Since(began); took != logSyncTimeout {
			t.Errorf("Close took %s, want %s", took, logSyncTimeout)
		}
		reader.Close() // lets the writing goroutine go, as the end of the process would
	})
}

func TestSecretsAreRedactedInTheLog(t *testing.T) {
	var out bytes.Buffer
	log, queue := newLogger(config.Log{Level: "info", Format: "json"}, zap.NewAtomicLevel(), &out)
	secret := config.NewSecret("hunter2")
	log.Info("config", zap.Any("probe", config.Probe{User: "pgvip", Password: secret}),
		zap.Any("secret", secret), zap.Stringer("stringer", secret), zap.Reflect("reflect", secret))
	if err := queue.Close(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); strings.Contains(got, "hunter2") || strings.Count(got, "***") != 4 {
		t.Errorf("log = %q, want the secret redacted four times", got)
	}
}
