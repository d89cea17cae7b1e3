package admin

import (
	"cmp"
	"context"
	"errors"
	"net/http"

	"go.uber.org/zap"
)

// ErrUnknown is the error of an action on what is not there.
var ErrUnknown = errors.New("there is none of that name")

// Actions is what operators may do. An error is told to them as it is.
type Actions interface {
	// SetServer gives a server the state ready, drain or maint.
	SetServer(server, state string) error
	// SetPaused stops or resumes the lending of servers of a database.
	SetPaused(database string, paused bool) error
	Reload() error

	// Drain has this node give the virtual IP to another node and take no more
	// clients, until Undrain. It fails, and nothing is changed, where no other node
	// would take the address, unless forced. What it returns is told to the operator.
	Drain(ctx context.Context, force bool) (string, error)
	Undrain() error
	// MoveVIP has this node, which owns the virtual IP, give it to another one, to ""
	// for the best. The error is ErrUnknown where there is none of this name.
	MoveVIP(ctx context.Context, to string) (string, error)
}

func (s *HTTP) setServer(w http.ResponseWriter, r *http.Request) {
	server, state := r.PathValue("server"), r.PathValue("state")
	switch state {
	case "ready", "drain", "maint":
		s.did(w, r, s.opts.Actions.SetServer(server, state))
	default:
		say(w, http.StatusNotFound, "A server can be made ready, drain or maint.")
	}
}

func (s *HTTP) setDatabase(w http.ResponseWriter, r *http.Request) {
	database := r.PathValue("database")
	switch r.PathValue("action") {
	case "pause":
		s.did(w, r, s.opts.Actions.SetPaused(database, true))
	case "resume":
		s.did(w, r, s.opts.Actions.SetPaused(database, false))
	default:
		say(w, http.StatusNotFound, "A database can be told to pause or to resume.")
	}
}

// setVIP carries out what an operator wants of the virtual IP.
func (s *HTTP) setVIP(w http.ResponseWriter, r *http.Request) {
	var text string
	var err error
	switch r.PathValue("action") {
	case "drain":
		text, err = s.opts.Actions.Drain(r.Context(), r.URL.Query().Has("force"))
	case "ready":
		err = s.opts.Actions.Undrain()
	case "move":
		text, err = s.opts.Actions.MoveVIP(r.Context(), r.URL.Query().Get("to"))
	default:
		say(w, http.StatusNotFound, "The virtual IP can be told to move, and this node to drain or to be ready.")
		return
	}
	s.answer(w, r, cmp.Or(text, "done"), err)
}

func (s *HTTP) reload(w http.ResponseWriter, r *http.Request) {
	s.did(w, r, s.opts.Actions.Reload())
}

func (s *HTTP) did(w http.ResponseWriter, r *http.Request, err error) { s.answer(w, r, "done", err) }

// answer tells what has become of an action, and logs who was behind it.
func (s *HTTP) answer(w http.ResponseWriter, r *http.Request, done string, err error) {
	s.opts.Log.Info("action over HTTP", zap.String("action", r.URL.Path), zap.String("client", r.RemoteAddr), zap.Error(err))
	switch {
	case err == nil:
		say(w, http.StatusOK, done)
	case errors.Is(err, ErrUnknown):
		say(w, http.StatusNotFound, err.Error())
	default:
		say(w, http.StatusConflict, err.Error())
	}
}
