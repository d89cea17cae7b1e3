package proxy

import (
	"slices"
	"testing"

	"github.com/pgvip/pgvip/internal/pgscript"
)

// TestLogSettings: each kind of line follows the setting of its name.
func TestLogSettings(t *testing.T) {
	for _, tt := range []struct {
		name string
		log  Logging
		want []string // of one good login, one refused, and one session that pgvip ends
	}{
		{"all", Logging{true, true, true}, []string{"login", "session ended", "login", "login refused", "session ended"}},
		{"log_connections", Logging{Connections: true}, []string{"login", "login"}},
		{"log_disconnections", Logging{Disconnections: true}, []string{"session ended", "session ended"}},
		{"log_pooler_errors", Logging{PoolerErrors: true}, []string{"login refused", "session ended"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t, plan{proxy: func(set *Settings) { set.Log = tt.log }})
			ended := func(clients int) func() bool {
				return func() bool { return s.proxy.Clients() == clients }
			}
			login(t, s.primary).leave()
			eventually(t, "the client has left", ended(0))
			staying := login(t, s.primary)
			settings := *s.proxy.settings.Load()
			settings.MaxClientConn = 1
			s.proxy.Apply(settings)
			refused := dialTo(t, s.primary)
			refused.send(pgscript.Startup("user", "nobody", "database", "nothing"))
			refused.fatal()
			eventually(t, "the refusal has been logged", func() bool { return s.proxy.counters.LoginsFailed.Load() == 1 })
			s.stop()
			staying.gone()
			var got []string
			for _, entry := range s.logs.All() {
				if slices.Contains([]string{"login", "login refused", "session ended"}, entry.Message) {
					got = append(got, entry.Message)
				}
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("log has %q, want %q", got, tt.want)
			}
		})
	}
}
