package main

import (
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/pgvip/pgvip/config"
)

// newLogger builds the log that every part of pgvip is given, writing to out
// through a bounded queue. The caller closes the queue when nothing logs any
// more; the logger's Sync waits until what was accepted is written.
func newLogger(c config.Log, level zap.AtomicLevel, out io.Writer) (*zap.Logger, *logQueue) {
	encoder := newLogEncoder(c.Format)
	queue := newLogQueue(out, logQueueBytes, func(dropped uint64) []byte {
		return encodeDropped(encoder, dropped)
	})
	return zap.New(zapcore.NewCore(encoder, queue, level)), queue
}

// logLevel is what is logged: PgBouncer's verbose or log.level, whichever says more.
func logLevel(c config.Log) zapcore.Level {
	if c.Verbose > 0 {
		return zapcore.DebugLevel
	}
	level, err := zapcore.ParseLevel(c.Level)
	if err != nil {
		panic("BUG: log.level: " + err.Error())
	}
	return level
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
