package console

import (
	"errors"

	"github.com/pgvip/pgvip/wire"
)

// aboutDatabases reports the verbs whose argument is a database.
func aboutDatabases(v Verb) bool {
	switch v {
	case Pause, Resume, Reconnect, Kill, WaitClose, Disable, Enable:
		return true
	}
	return false
}

// adminDatabaseError is PgBouncer's answer to who wants to do that to the console
// itself.
func adminDatabaseError(c Command) error {
	if c.Verb == Resume {
		return inWords(c, ErrNotPaused)
	}
	what := map[Verb]string{
		Pause: "pause", Reconnect: "reconnect", Kill: "kill", WaitClose: "wait in", Disable: "disable", Enable: "disable",
	}[c.Verb]
	return refuse(wire.CodeFeatureNotSupported, "cannot "+what+" admin db: "+c.Arg, "")
}

// errGoodbye is what an operator hears who is sent away.
func errGoodbye() *wire.Error {
	return wire.Fatal(wire.CodeAdminShutdown, "terminating connection due to administrator command", "")
}

// inWords gives PgBouncer's message, and a true SQLSTATE, for what went wrong with
// a command.
func inWords(c Command, err error) error {
	var own *wire.Error
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.Is(err, ErrNoDatabase):
		return refuse(wire.CodeInvalidCatalogName, "no such database: "+c.Arg, "")
	case errors.Is(err, ErrNoClient):
		return refuse(wire.CodeUndefinedObject, "client not found", "")
	case errors.Is(err, ErrNoServer):
		return refuse(wire.CodeUndefinedObject, "no such server: "+c.Arg, "SHOW NODES lists them.")
	case errors.Is(err, ErrPaused):
		return refuse(wire.CodeNotInPrerequisiteState, "already suspended/paused", "")
	case errors.Is(err, ErrNotPaused) && c.Arg != "":
		return refuse(wire.CodeNotInPrerequisiteState, "database "+c.Arg+" is not paused", "")
	case errors.Is(err, ErrNotPaused):
		return refuse(wire.CodeNotInPrerequisiteState, "pooler is not paused/suspended",
			"Databases that were paused by name, or by KILL, are resumed by name.")
	case errors.Is(err, ErrResumed):
		return refuse(wire.CodeNotInPrerequisiteState, "RESUME came while PAUSE was waiting", "")
	case errors.Is(err, ErrStopping):
		return refuse(wire.CodeCannotConnectNow, "pooler is shutting down", "")
	case errors.Is(err, errClosed):
		return errGoodbye()
	case errors.Is(err, errCanceled):
		return refuse(wire.CodeQueryCanceled, "canceling statement due to user request", "")
	case c.Verb == Set:
		return refuse(wire.CodeInvalidParameterValue, "SET failed", err.Error())
	case c.Verb == Reload:
		return refuse(wire.CodeConfigFile, "RELOAD failed, see logs for additional details", err.Error())
	}
	return err
}
