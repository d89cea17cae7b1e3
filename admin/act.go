package admin

import (
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

func (s *HTTP) reload(w http.ResponseWriter, r *http.Request) {
	s.did(w, r, s.opts.Actions.Reload())
}

// did answers an action, and logs who was behind it.
func (s *HTTP) did(w http.ResponseWriter, r *http.Request, err error) {
	s.opts.Log.Info("action over HTTP", zap.String("action", r.URL.Path), zap.String("client", r.RemoteAddr), zap.Error(err))
	switch {
	case err == nil:
		say(w, http.StatusOK, "done")
	case errors.Is(err, ErrUnknown):
		say(w, http.StatusNotFound, err.Error())
	default:
		say(w, http.StatusConflict, err.Error())
	}
}
