package health

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/pgvip/pgvip/dial"
	"github.com/pgvip/pgvip/wire"
)

// Check is how a replica is checked. The leader, and whoever is about to be, is
// always asked by SQL: nothing else proves that it takes writes.
type Check int

// The three checks.
const (
	BySQL  Check = iota // logs in and asks; the only one that tells lag, role and cluster
	ByREST              // asks Patroni whether it is a replica: HAProxy's httpchk
	ByTCP               // connects
)

// String gives the check as the configuration names it.
func (c Check) String() string {
	switch c {
	case BySQL:
		return "sql"
	case ByREST:
		return "rest"
	case ByTCP:
		return "tcp"
	default:
		panic(fmt.Sprintf("BUG: health.Check(%d)", int(c)))
	}
}

// Connect opens a TCP connection. *net.Dialer's DialContext is one.
type Connect func(ctx context.Context, network, address string) (net.Conn, error)

// Get fetches a URL. *REST's method is one.
type Get func(ctx context.Context, url string) (status int, body []byte, err error)

// declinedError is an answer of Patroni's that is not 200.
type declinedError struct {
	status      int
	role, state string
}

func (e *declinedError) Error() string {
	text := fmt.Sprintf("patroni: status %d for /replica", e.status)
	if e.role != "" || e.state != "" {
		text += fmt.Sprintf(" (role %s, state %s)", e.role, e.state)
	}
	return text
}

// askREST asks Patroni at base, scheme://host:port, whether the node is a replica
// that may serve.
func askREST(ctx context.Context, get Get, base string) error {
	if base == "" {
		return errors.New("patroni: the member key has no api_url")
	}
	status, body, err := get(ctx, base+"/replica")
	if err != nil {
		return err
	}
	if status == http.StatusOK {
		return nil
	}
	var said struct{ Role, State string }
	_ = json.Unmarshal(body, &said) // the status is the answer, the rest is for people
	return &declinedError{status, said.Role, said.State}
}

// askTCP connects, and hangs up.
func askTCP(ctx context.Context, connect Connect, addr string) error {
	conn, err := connect(ctx, "tcp", addr)
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	// With a FIN: PostgreSQL logs nothing of who leaves without a word, and a line
	// for each reset.
	return conn.Close()
}

// HAProxy's words for what a check came to: check_status of its CSV.
const (
	checkInit    = "INI"     // not asked yet
	checkSocket  = "SOCKERR" // the fault is ours
	checkL4OK    = "L4OK"
	checkL4Tout  = "L4TOUT"
	checkL4Con   = "L4CON"
	checkL7OK    = "L7OK"
	checkL7Tout  = "L7TOUT"
	checkL7Rsp   = "L7RSP" // an answer that is none
	checkL7Sts   = "L7STS" // an answer that says no
	checkHTTPyes = http.StatusOK
)

// words gives check_status and check_code for the end of a check of this kind.
func words(kind Check, err error) (word string, code int) {
	var declined *declinedError
	var pg *wire.Error
	switch {
	case err == nil && kind == ByTCP:
		return checkL4OK, 0
	case err == nil && kind == ByREST:
		return checkL7OK, checkHTTPyes
	case err == nil:
		return checkL7OK, 0
	case errors.As(err, &declined):
		return checkL7Sts, declined.status
	case errors.As(err, &pg):
		return checkL7Sts, 0
	}
	switch classify(err) {
	case refused:
		return checkL4Con, 0
	case silent:
		if kind == ByTCP || dialing(err) {
			return checkL4Tout, 0
		}
		return checkL7Tout, 0
	case broken:
		return checkL7Rsp, 0
	default:
		if ours(err) {
			return checkSocket, 0
		}
		return checkL7Rsp, 0
	}
}

// dialing reports an error of connect(2), before anybody has said anything.
func dialing(err error) bool {
	var op *net.OpError
	var own *dial.Error
	return errors.As(err, &op) && op.Op == "dial" || errors.As(err, &own) && own.Op == dial.OpConnect
}

// ours reports a fault on this side: no descriptor, no such name.
func ours(err error) bool {
	var name *net.DNSError
	return errors.As(err, &name) || errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) ||
		errors.Is(err, syscall.EADDRNOTAVAIL)
}

// patience is for how long the primary's last word is good to measure a replica
// by: three questions, and never less than the time of a slow one.
func (c *Config) patience() time.Duration { return 3*c.Leader + c.Timeout }
