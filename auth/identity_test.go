package auth

import "testing"

// Cert and peer let in whom the connection vouches for and who exists; the
// client is told no more than that it failed.
func TestIdentityLogins(t *testing.T) {
	maps := identMaps(t)
	m, _ := maps.Lookup("os")
	for _, test := range []struct {
		name   string
		method Method
		user   string
		system string
		idents *IdentMap
		found  bool
		want   string // message; empty for success
		reason string
	}{
		{"cert, namesake", Cert, "bob", "bob", nil, true, "", ""},
		{"cert, another name", Cert, "bob", "eve", nil, true,
			`certificate authentication failed for user "bob"`, `the client's certificate is of "eve"`},
		{"cert, none", Cert, "bob", "", nil, true,
			`certificate authentication failed for user "bob"`, "nothing is known of the client's certificate"},
		{"cert, unknown user", Cert, "bob", "bob", nil, false,
			`certificate authentication failed for user "bob"`, "no such user"},
		{"peer, namesake", Peer, "bob", "bob", nil, true, "", ""},
		{"peer, mapped", Peer, "postgres", "root", m, true, "", ""},
		{"peer, not in the map", Peer, "root", "root", m, true, `Peer authentication failed for user "root"`,
			`the process at the other end of the socket is of "root", whom the map does not let in as this user`},
		{"any, unknown user", Any, "bob", "", nil, false, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			secret := mustSecret(t, "pencil")
			l := NewServer(ServerConfig{}).Begin(test.method, test.user, secret, test.found)
			l.Identify(test.system, test.idents)
			send, done, err := l.Start()
			if test.want == "" {
				if err != nil || !done || len(send) != 9 || send[8] != 0 {
					t.Fatalf("Start = %v, %v, %v, want AuthenticationOk", send, done, err)
				}
				if known := test.method != Any; (l.Credential().Password == "pencil") != known {
					t.Errorf("credential with password: %v, want %v", !known, known)
				}
				return
			}
			if err == nil || done || send != nil || err.Code != "28000" || err.Message != test.want {
				t.Errorf("Start = %v, %v, %v, want %s", send, done, err, test.want)
			}
			if l.Reason() != test.reason {
				t.Errorf("Reason() = %q, want %q", l.Reason(), test.reason)
			}
			if _, done, err := l.Step(nil); done || err == nil {
				t.Error("a login that failed went on")
			}
		})
	}
}
