package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/wire"
)

func TestAdvice(t *testing.T) {
	tests := []struct {
		name string
		err  error
		want string // what the advice begins with
	}{
		{"let in", nil, ""},
		{"password", wire.Fatal(wire.CodeInvalidPassword, "no", ""), "check probe.user, probe.password and"},
		{"pg_hba.conf", wire.Fatal(wire.CodeInvalidAuthorization, "no", ""), "check probe.user, probe.password and"},
		{"database", wire.Fatal(wire.CodeInvalidCatalogName, "no", ""), "check probe.dbname"},
		{"no secret", fmt.Errorf("log in: %w", &auth.SecretError{User: "pgvip"}), "set probe.password"},
		{"passes by itself", wire.Fatal(wire.CodeTooManyConnections, "no", ""), ""},
		{"network", errors.New("refused"), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			login := advised(func(context.Context, string) (health.Conn, error) { return nil, tt.err })
			_, err := login(t.Context(), "pg1:5432")
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v does not wrap %v", err, tt.err)
			}
			if tt.err == nil {
				return
			}
			got := strings.TrimPrefix(strings.TrimPrefix(err.Error(), tt.err.Error()), "; ")
			if !strings.HasPrefix(got, tt.want) || (tt.want == "") != (got == "") {
				t.Errorf("advice %q, want it to begin with %q", got, tt.want)
			}
		})
	}
}
