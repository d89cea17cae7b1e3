package config

import (
	"errors"
	"testing"
)

func TestFromPgBouncer(t *testing.T) {
	for _, tt := range []struct{ path, text, want, fault string }{
		{"query_wait_timeout", "120", "2m", ""},
		{"server_check_delay", "0.5", "500ms", ""},
		{"server_lifetime", "3600.0", "1h", ""},
		{"query_timeout", "0", "0s", ""},
		{"tcp_user_timeout", "1500", "1.5s", ""},
		{"server_round_robin", "1", "true", ""},
		{"server_round_robin", "maybe", "", `must be true or false, is "maybe"`},
		{"admin_users", "a, b", "a, b", ""},
		{"tcp_keepidle", "0", "", "must be at least 1s, is 0s"},
		{"query_timeout", "99999999999999999999", "", "must be at most 87600h, is 99999999999999999999"},
		{"pool_mode", "fast", "", `must be session, transaction or statement, is "fast"`},
		{"databases.*.server_lifetime", "60", "1m", ""},
		{"databases.*.pool_size", "5", "5", ""},
		{"databases.*.password", "x", "x", ""},
		{"users.*.query_timeout", "5", "5s", ""},
		{"so_reuseport", "1", "", ErrUnknown.Error()},
		{"databases.*.host", "x", "", ErrUnknown.Error()},
	} {
		got, err := FromPgBouncer(tt.path, tt.text)
		if got != tt.want || (err == nil) != (tt.fault == "") || err != nil && err.Error() != tt.fault {
			t.Errorf("FromPgBouncer(%s, %q) = %q, %v; want %q, %q", tt.path, tt.text, got, err, tt.want, tt.fault)
		}
	}
	if _, err := FromPgBouncer("wibble", "1"); !errors.Is(err, ErrUnknown) {
		t.Errorf("an unknown key gives %v, want ErrUnknown", err)
	}
}
