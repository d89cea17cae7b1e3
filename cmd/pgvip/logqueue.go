package main

import (
	"errors"
	"io"
	"sync"
	"time"
)

const (
	// logQueueBytes bounds what waits while the reader of the log is slow: some
	// thousand lines, a second of a very noisy failover.
	logQueueBytes = 1 << 20
	// logSyncTimeout bounds how long an exit waits for a stuck reader.
	logSyncTimeout = time.Second
)

// errLogStuck is what Sync returns when the reader of the log does not read.
var errLogStuck = errors.New("log: the reader of standard output does not read")

// logQueue hands log lines to a slow writer without ever making the logging
// goroutine wait (rule 21). Lines that find it full are dropped and counted, and
// a line that says so follows once there is room.
type logQueue struct {
	out  io.Writer // owned by run
	note func(dropped uint64) []byte
	most int

	wake chan struct{} // never closed; a full one is a wake-up already under way
	stop chan struct{} // closed by Close
	done chan struct{} // closed by run on return

	mu      sync.Mutex
	pending []byte        // whole lines not yet taken by run
	writing bool          // run holds lines that are not written yet
	dry     chan struct{} // closed by run when all is written; nil when nobody waits
	dropped uint64        // lines dropped since the start
	noted   uint64        // of these, how many a line in the log has told of
	closed  bool
}

func newLogQueue(out io.Writer, most int, note func(uint64) []byte) *logQueue {
	q := &logQueue{
		out: out, note: note, most: most,
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go q.run()
	return q
}

// Write takes one line, or drops it. It never waits and never fails.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	if q.closed || len(q.pending)+len(line) > q.most {
		q.dropped++
	} else {
		q.pending = append(q.pending, line...)
	}
	q.mu.Unlock()
	select {
	case q.wake <- struct{}{}:
	default:
	}
	return len(line), nil
}

// Sync waits until the lines taken so far are written, at most logSyncTimeout.
func (q *logQueue) Sync() error {
	q.mu.Lock()
	if len(q.pending) == 0 && !q.writing {
		q.mu.Unlock()
		return nil
	}
	if q.dry == nil {
		q.dry = make(chan struct{})
	}
	dry := q.dry
	q.mu.Unlock()
	timer := time.NewTimer(logSyncTimeout)
	defer timer.Stop()
	select {
	case <-dry:
		return nil
	case <-timer.C:
		return errLogStuck
	}
}

// Close writes what waits and ends the queue; lines that come later are dropped.
// With a stuck reader it gives up after logSyncTimeout and leaves its goroutine
// in the write, which nothing but the end of the process can interrupt.
func (q *logQueue) Close() error {
	q.mu.Lock()
	again := q.closed
	q.closed = true
	q.mu.Unlock()
	if again {
		return nil
	}
	err := q.Sync()
	close(q.stop)
	if err == nil {
		<-q.done
	}
	return err
}

// Dropped gives the number of lines dropped since the start.
func (q *logQueue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// run writes what waits, as much as there is in one call, until Close.
func (q *logQueue) run() {
	defer close(q.done)
	var spare []byte
	for {
		batch, missing := q.take(spare[:0])
		if missing > 0 {
			batch = append(batch, q.note(missing)...)
		}
		// Also when it is empty: the buffer given to take is in use from now on.
		spare = batch
		if len(batch) > 0 {
			// The log is where errors are told; one in writing it has no better place.
			_, _ = q.out.Write(batch)
			continue
		}
		select {
		case <-q.wake:
		case <-q.stop:
			return
		}
	}
}

// take swaps the lines that wait against an empty buffer and gives the number
// of lines that are missing after them. When there is nothing to write, it
// wakes those who wait for that.
func (q *logQueue) take(spare []byte) (batch []byte, missing uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	batch, q.pending = q.pending, spare
	missing, q.noted = q.dropped-q.noted, q.dropped
	q.writing = len(batch) > 0 || missing > 0
	if !q.writing && q.dry != nil {
		close(q.dry)
		q.dry = nil
	}
	return batch, missing
}
