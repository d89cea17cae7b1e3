package failover

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// kind says what a client does all the time.
type kind string

const (
	writer    kind = "writer"    // one INSERT after the other
	short     kind = "short"     // transactions that last as long as their three round trips
	long      kind = "long"      // transactions that last longer than any announcement
	reader    kind = "reader"    // SELECT on the port for writes
	idler     kind = "idler"     // logged in, with a SELECT now and then
	newcomer  kind = "newcomer"  // a new connection for each INSERT
	follower  kind = "follower"  // SELECT on the port for reads
	readcomer kind = "readcomer" // a new connection for each SELECT on the port for reads
)

// reads reports whether the client uses the port for reads.
func (k kind) reads() bool { return k == follower || k == readcomer }

// Classes of errors that have no SQLSTATE.
const (
	classRefused = "refused"
	classReset   = "reset"
	classClosed  = "closed" // without a word
	classTimeout = "timeout"
	classOther   = "other"
)

// SQLSTATEs that mean something to the checkers.
const (
	codeAdminShutdown   = "57P01"
	codeReadOnly        = "25006"
	codeTooMany         = "53300"
	codeConnectionFails = "08006"
	codeMaybeCommitted  = "08007"
)

// failure is one error that a client got.
type failure struct {
	kind      kind
	connect   bool      // while it logged in
	connected time.Time // when its connection was made
	began     time.Time // of the statement or the transaction
	ended     time.Time
	class     string // SQLSTATE, or one of the classes above
	text      string
}

// classOf gives the SQLSTATE of an error, or what else it is.
func classOf(err error) string {
	var pg *pgconn.PgError
	var n net.Error
	switch {
	case errors.As(err, &pg):
		return pg.Code
	case errors.Is(err, syscall.ECONNREFUSED):
		return classRefused
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return classReset
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &n) && n.Timeout():
		return classTimeout
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed),
		strings.Contains(err.Error(), "conn closed"):
		return classClosed
	default:
		return classOther
	}
}

// failures collects them. Its methods may be called by any goroutine.
type failures struct {
	mu  sync.Mutex
	all []failure
}

func (f *failures) add(one failure) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all = append(f.all, one)
}

func (f *failures) take() []failure {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.all
	f.all = nil
	return all
}

// classes counts failures by their class: "57P01:3,reset:1".
func classes(all []failure) string {
	count := map[string]int{}
	for _, f := range all {
		count[f.class]++
	}
	var list []string
	for _, class := range slices.Sorted(maps.Keys(count)) {
		list = append(list, class+":"+strconv.Itoa(count[class]))
	}
	if list == nil {
		return "none"
	}
	return strings.Join(list, ",")
}
