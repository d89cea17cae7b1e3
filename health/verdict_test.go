package health

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"syscall"
	"testing"
	"time"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/route"
	"github.com/pgvip/pgvip/wire"
)

func TestClassify(t *testing.T) {
	pg := func(code string) error {
		return fmt.Errorf("probe login: %w", &wire.Error{Severity: wire.SeverityFatal, Code: code})
	}
	rows := []struct {
		name string
		err  error
		want outcome
	}{
		{"answer", nil, answered},
		{"starting up", pg("57P03"), refused},
		{"refused", &dial.Error{Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}, refused},
		{"no route", &dial.Error{Err: os.NewSyscallError("connect", syscall.EHOSTUNREACH)}, refused},
		{"no socket file", syscall.ENOENT, refused},
		{"deadline", &dial.Error{Err: context.DeadlineExceeded}, silent},
		{"socket deadline", os.ErrDeadlineExceeded, silent},
		{"kernel gave up", syscall.ETIMEDOUT, silent},
		{"closed", &dial.Error{Err: fmt.Errorf("server closed the connection: %w", io.ErrUnexpectedEOF)}, broken},
		{"reset", syscall.ECONNRESET, broken},
		{"terminated", pg("57P01"), broken},
		{"crash shutdown", pg("57P02"), broken},
		{"wrong password", pg("28P01"), checkError},
		{"too many clients", pg("53300"), checkError},
		{"no database", pg("3D000"), checkError},
		{"no permission", pg("42501"), checkError},
		{"no descriptor", syscall.EMFILE, checkError},
		{"protocol", dial.ErrProtocol, checkError},
	}
	for _, row := range rows {
		if got := classify(row.err); got != row.want {
			t.Errorf("%s: %v is %d, want %d", row.name, row.err, got, row.want)
		}
	}
}

// TestVerdict feeds outcomes and shows the state after each.
func TestVerdict(t *testing.T) {
	const u, up, down = route.Unprobed, route.Up, route.Down
	rows := []struct {
		name string
		lim  limits
		feed []outcome
		want []route.State
	}{
		{"first answer", limits{2, 3}, []outcome{answered}, []route.State{up}},
		{"refusal is death", limits{2, 3}, []outcome{answered, refused}, []route.State{up, down}},
		{"refused at first", limits{2, 3}, []outcome{refused}, []route.State{down}},
		{"fall", limits{2, 3}, []outcome{answered, silent, silent, silent}, []route.State{up, up, up, down}},
		{"an answer between", limits{2, 3}, []outcome{answered, silent, silent, answered, silent, silent},
			[]route.State{up, up, up, up, up, up}},
		{"rise", limits{2, 3}, []outcome{refused, answered, answered}, []route.State{down, down, up}},
		{"rise interrupted", limits{2, 3}, []outcome{refused, answered, refused, answered, answered},
			[]route.State{down, down, down, down, up}},
		{"a leader rises at once", limits{1, 3}, []outcome{refused, answered}, []route.State{down, up}},
		{"breaks off again and again", limits{2, 3}, []outcome{answered, broken, silent, broken}, []route.State{up, up, up, down}},
		{"25: a check error changes no state", limits{2, 2}, []outcome{answered, checkError, checkError, checkError},
			[]route.State{up, up, up, up}},
		{"25: nor of a node that is down", limits{2, 2}, []outcome{refused, checkError, checkError}, []route.State{down, down, down}},
		{"25: nor does it prove anything", limits{2, 2}, []outcome{checkError, checkError}, []route.State{u, u}},
		{"a check error is no silence", limits{2, 2}, []outcome{answered, silent, checkError, silent}, []route.State{up, up, up, up}},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var v verdict
			var got []route.State
			now := time.Unix(1, 0)
			for _, o := range row.feed {
				now = now.Add(time.Second)
				before := v.health
				if o == answered {
					v.answer(answer{}, row.lim, now)
				} else {
					v.fault(o, errors.New("fault"), row.lim, now)
				}
				got = append(got, v.health.State)
				if moved := before.State != v.health.State; moved != v.health.Since.Equal(now) {
					t.Errorf("state %v -> %v, since %v at %v", before.State, v.health.State, v.health.Since, now)
				}
				if (v.health.Err == "") != (o == answered) || v.health.CheckError != (o == checkError) {
					t.Errorf("after %v: fault %q, check error %v", o, v.health.Err, v.health.CheckError)
				}
			}
			if !reflect.DeepEqual(got, row.want) {
				t.Errorf("got %v, want %v", got, row.want)
			}
		})
	}
}

// TestSilenceIsTold: a node that says nothing is told from one that refuses.
func TestSilenceIsTold(t *testing.T) {
	rows := []struct {
		name string
		feed []outcome
		want bool
	}{
		{"silent", []outcome{answered, silent, silent, silent}, true},
		{"not yet down", []outcome{answered, silent, silent}, false},
		{"refused", []outcome{answered, refused}, false},
		{"refused at last", []outcome{answered, silent, silent, silent, refused}, false},
		{"back", []outcome{answered, silent, silent, silent, answered, answered}, false},
		{"broken", []outcome{answered, broken, broken, broken}, false},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			var v verdict
			for _, o := range row.feed {
				if o == answered {
					v.answer(answer{}, limits{2, 3}, time.Unix(1, 0))
				} else {
					v.fault(o, errors.New("fault"), limits{2, 3}, time.Unix(1, 0))
				}
			}
			if v.health.Silent != row.want {
				t.Errorf("silent = %t, want %t", v.health.Silent, row.want)
			}
		})
	}
}

func TestParseAnswer(t *testing.T) {
	rows := []struct {
		name string
		row  []string
		want answer
		ok   bool
	}{
		{"primary", []string{"f", "7301", "0000001A", "50331744", "", "", ""}, answer{systemID: "7301", timeline: 26, lsn: 50331744}, true},
		{"replica", []string{"t", "7301", "", "50331744", "", "", ""}, answer{inRecovery: true, systemID: "7301", lsn: 50331744}, true},
		{"nothing replayed", []string{"t", "7301", "", "", "", "", ""}, answer{inRecovery: true, systemID: "7301"}, true},
		{"no timeline", []string{"f", "7301", "", "1", "", "", ""}, answer{}, false},
		{"neither", []string{"", "7301", "1", "1", "", "", ""}, answer{}, false},
		{"position", []string{"t", "7301", "", "0/0", "", "", ""}, answer{}, false},
		{"short", []string{"t", "7301"}, answer{}, false},
	}
	for _, row := range rows {
		got, err := parseAnswer([][]string{row.row})
		if (err == nil) != row.ok || got != row.want {
			t.Errorf("%s: got %+v, %v, want %+v, ok %v", row.name, got, err, row.want, row.ok)
		}
	}
	if _, err := parseAnswer(nil); err == nil {
		t.Error("no row gave no error")
	}
}
