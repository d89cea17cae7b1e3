package main

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pgvip/pgvip/config"
)

// newLogger builds the log that every part of pgvip is given, writing to out
// through a bounded queue. The caller closes the queue when nothing logs any
// more; the logger's Sync waits until what was accepted is written.
func newLogger(c config.Log, out io.Writer) (*zap.Logger, *logQueue, error) {
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		return nil, nil, fmt.Errorf("log: %w", err)
	}
	encoder := newLogEncoder(c.Format)
	queue := newLogQueue(out, logQueueBytes, func(dropped uint64) []byte {
		return encodeDropped(encoder, dropped)
	})
	return zap.New(zapcore.NewCore(encoder, queue, level)), queue, nil
}

func newLogEncoder(format string) zapcore.Encoder {
	c := zapcore.EncoderConfig{
		TimeKey: "time", LevelKey: "level", NameKey: "part", MessageKey: "msg", StacktraceKey: "stack",
		LineEnding: zapcore.DefaultLineEnding,
		EncodeTime: zapcore.ISO8601TimeEncoder, EncodeLevel: zapcore.LowercaseLevelEncoder,
		EncodeDuration: zapcore.StringDurationEncoder, EncodeName: zapcore.FullNameEncoder,
	}
	if format == "json" {
		return zapcore.NewJSONEncoder(c)
	}
	return zapcore.NewConsoleEncoder(c)
}

// encodeDropped makes the line that stands where lines are missing. The queue
// writes it itself: sent through the logger it would be dropped with the rest.
func encodeDropped(encoder zapcore.Encoder, dropped uint64) []byte {
	entry := zapcore.Entry{Level: zapcore.WarnLevel, Time: time.Now(), Message: "log lines dropped"}
	line, err := encoder.EncodeEntry(entry, []zapcore.Field{zap.Uint64("lines", dropped)})
	if err != nil {
		return nil
	}
	defer line.Free()
	return append([]byte(nil), line.Bytes()...)
}
