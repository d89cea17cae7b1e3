package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/health"
	"github.com/pgvip/pgvip/wire"
)

// advised adds to a probe's refusal which key of the configuration to look at:
// the node says what it did not like, and cannot know where that stands here.
func advised(login health.Login) health.Login {
	return func(ctx context.Context, addr string) (health.Conn, error) {
		conn, err := login(ctx, addr)
		if text := advice(err); text != "" {
			err = fmt.Errorf("%w; %s", err, text)
		}
		return conn, err
	}
}

// unproven is why it matters: a start without a primary looks like an outage.
const unproven = "no primary is proven before its probe gets in"

// advice is for what no probe gets past by itself; "" for all else.
func advice(err error) string {
	var secret *auth.SecretError
	if errors.As(err, &secret) {
		return "set probe.password: " + unproven
	}
	var refusal *wire.Error
	if !errors.As(err, &refusal) {
		return ""
	}
	switch refusal.Code {
	case wire.CodeInvalidPassword, wire.CodeInvalidAuthorization:
		return "check probe.user, probe.password and the node's pg_hba.conf: " + unproven
	case wire.CodeInvalidCatalogName:
		return "check probe.dbname: " + unproven
	default:
		return ""
	}
}
