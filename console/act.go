package console

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// columns gives those that a command's answer will have, nil for one without rows.
func (s *session) columns(c Command) []column {
	if c.Verb != Show {
		return nil
	}
	return s.server.shows[strings.ToLower(c.Arg)].columns
}

// answer carries out a command.
func (s *session) answer(c Command) (*answer, error) {
	s.server.queries.Add(1)
	if _, fake := fakes()[strings.ToLower(c.Arg)]; c.Verb == Set && fake {
		return &answer{tag: "SET", notice: "SET ignored"}, nil
	}
	switch c.Verb {
	case Empty:
		return &answer{}, nil
	case Show:
		return s.show(c)
	case Begin:
		s.status = 'T'
		return &answer{tag: c.Tag}, nil
	case Commit, Rollback:
		s.status = 'I'
		return &answer{tag: c.Tag}, nil
	case Forget:
		return &answer{tag: c.Tag}, nil
	}
	if err := s.wellFormed(c); err != nil {
		return nil, err
	}
	if !s.login.Admin {
		return nil, refuse(wire.CodeInsufficientPrivilege, "admin access needed", "The user must be one of admin_users.")
	}
	tag := string(c.Verb)
	if c.Verb == Set {
		tag = "SET " + c.Arg + "=" + c.Value
	}
	return &answer{tag: tag}, inWords(c, s.act(c))
}

// wellFormed finds what is wrong with a command whoever sends it.
func (s *session) wellFormed(c Command) error {
	if c.Verb != Shutdown {
		return nil
	}
	if _, ok := shutdownMode(c.Arg); !ok {
		return syntaxError(c.text)
	}
	return nil
}

func shutdownMode(arg string) (ShutdownMode, bool) {
	mode, ok := map[string]ShutdownMode{
		"": ShutdownNow, "WAIT_FOR_SERVERS": WaitForServers, "WAIT_FOR_CLIENTS": WaitForClients,
	}[strings.ToUpper(arg)]
	return mode, ok
}

// act carries out a command of an administrator's.
func (s *session) act(c Command) error {
	t := s.server.target
	if IsDatabase(c.Arg) && aboutDatabases(c.Verb) {
		return adminDatabaseError(c)
	}
	switch c.Verb {
	case Set:
		return t.Set(c.Arg, c.Value)
	case Reload:
		return t.Reload()
	case Shutdown:
		mode, _ := shutdownMode(c.Arg)
		return t.Shutdown(mode)
	case Suspend:
		return refuse(wire.CodeFeatureNotSupported, "SUSPEND is not supported", "It serves PgBouncer's online restart; PAUSE waits for all servers to be free.")
	case Pause:
		return s.pause(c.Arg)
	case Resume:
		return t.Resume(c.Arg)
	case Reconnect:
		return t.Reconnect(c.Arg)
	case Kill:
		return t.Kill(c.Arg)
	case KillClient:
		return s.killClient(c.Arg)
	case WaitClose:
		return s.await(func(ctx context.Context) error { return t.AwaitClose(ctx, c.Arg) })
	}
	if server := c.Verb == Ready || c.Verb == Drain || c.Verb == Maint; c.Arg == "" && server {
		return refuse(wire.CodeSyntaxError, "a server is required", "SHOW NODES lists them.")
	} else if server {
		return s.setServer(c)
	}
	if c.Arg == "" {
		return refuse(wire.CodeSyntaxError, "a database is required", "")
	}
	if c.Verb == Disable {
		return t.Disable(c.Arg)
	}
	return t.Enable(c.Arg)
}

// pause waits until the servers are gone. An operator who gives up the waiting
// takes the PAUSE back; one who only goes away does not.
func (s *session) pause(database string) error {
	t := s.server.target
	if err := t.Pause(database); err != nil {
		return err
	}
	err := s.await(func(ctx context.Context) error { return t.AwaitPause(ctx, database) })
	if errors.Is(err, errCanceled) {
		t.Resume(database)
	}
	return err
}

// await runs what may wait for long. Its error says why when it was interrupted.
func (s *session) await(wait func(context.Context) error) error {
	ctx, done := s.waiting()
	defer done()
	err := wait(ctx)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func (s *session) killClient(arg string) error {
	id, err := strconv.ParseUint(arg, 10, 64)
	if err != nil {
		return refuse(wire.CodeInvalidParameterValue, "invalid client pointer supplied", "It is the column id of SHOW CLIENTS.")
	}
	if s.server.kill(id) {
		return nil
	}
	return s.server.target.KillClient(id)
}

// show collects the rows of a SHOW.
func (s *session) show(c Command) (*answer, error) {
	what, ok := s.server.shows[strings.ToLower(c.Arg)]
	switch {
	case !ok:
		return nil, syntaxError(c.text)
	case what.notice:
		return &answer{notice: "Console usage", detail: usage, tag: string(Show)}, nil
	}
	ctx, done := context.WithTimeout(context.Background(), s.server.patience)
	defer done()
	rows, err := what.rows(ctx, s)
	if errors.Is(err, context.DeadlineExceeded) {
		err = refuse(wire.CodeInternalError, "no answer from the event loops within "+s.server.patience.String(), "")
	}
	return &answer{columns: what.columns, rows: rows, tag: string(Show)}, err
}

// usage is what SHOW HELP says.
const usage = `
	SHOW HELP|CONFIG|DATABASES|POOLS|CLIENTS|SERVERS|USERS|VERSION
	SHOW PEERS|PEER_POOLS|NODE_POOLS
	SHOW NODES
	SHOW SOCKETS|ACTIVE_SOCKETS|LISTS|MEM|STATE
	SHOW DNS_HOSTS|DNS_ZONES
	SHOW STATS|STATS_TOTALS|STATS_AVERAGES|TOTALS
	SET key = arg
	RELOAD
	PAUSE [<db>]
	RESUME [<db>]
	DISABLE <db>
	ENABLE <db>
	RECONNECT [<db>]
	KILL [<db>]
	KILL_CLIENT <client_id>
	SHUTDOWN
	SHUTDOWN WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS
	WAIT_CLOSE [<db>]
	READY|DRAIN|MAINT <server>
	SHOW VIP|CLUSTER`
