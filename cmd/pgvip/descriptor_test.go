package main

import (
	"strings"
	"testing"

	"github.com/pgvip/pgvip/config"
)

func TestDescriptorsNeeded(t *testing.T) {
	tests := []struct {
		name   string
		change func(*config.Config)
		users  int
		want   uint64
	}{
		{"clients and a small pool", func(*config.Config) {}, 1, 10_000 + 20*3 + ownDescriptors},
		{"no user, no server", func(*config.Config) {}, 0, 10_000 + ownDescriptors},
		{"no more servers than clients", func(*config.Config) {}, 5000, 2*10_000 + ownDescriptors},
		{"pool without a limit", func(c *config.Config) { c.Databases["app"] = config.Database{PoolSize: config.Some(0)} }, 1, 2*10_000 + ownDescriptors},
		{"database of its own", func(c *config.Config) { c.Databases["app"] = config.Database{PoolSize: config.Some(5)} }, 2, 10_000 + 25*2*3 + ownDescriptors},
		{"disabled database", func(c *config.Config) { c.Databases["app"] = config.Database{PoolSize: config.Some(5), Disabled: true} }, 1, 10_000 + 20*3 + ownDescriptors},
		{"reserve", func(c *config.Config) { c.ReservePoolSize = 10 }, 1, 10_000 + 30*3 + ownDescriptors},
		{"auth_query knows no user list", func(c *config.Config) { c.AuthUser = "lookup" }, 0, 2*10_000 + ownDescriptors},
		{"auth_query of a database", func(c *config.Config) { c.Databases["app"] = config.Database{AuthUser: config.Some("lookup")} }, 0, 2*10_000 + ownDescriptors},
		{"any knows no user list", func(c *config.Config) { c.AuthType = config.AuthAny }, 0, 2*10_000 + ownDescriptors},
		{"trust is for those in the list", func(c *config.Config) { c.AuthType = config.AuthTrust }, 0, 10_000 + ownDescriptors},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := config.Default()
			tt.change(c)
			if got := descriptorsNeeded(c, tt.users); got != tt.want {
				t.Errorf("descriptorsNeeded = %d, want %d", got, tt.want)
			}
		})
	}
}

func TestDescriptorWarning(t *testing.T) {
	c := config.Default()
	need := descriptorsNeeded(c, 1)
	if text := descriptorWarning(c, 1, need); text != "" {
		t.Errorf("a limit that suffices warns: %s", text)
	}
	text := descriptorWarning(c, 1, need-1)
	for _, want := range []string{"max_client_conn 10000", "11388", "11387", "LimitNOFILE"} {
		if !strings.Contains(text, want) {
			t.Errorf("warning %q lacks %q", text, want)
		}
	}
}
