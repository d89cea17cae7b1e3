package config

import "fmt"

// redacted is what every printed form of a Secret shows.
const redacted = "***"

// Secret is a password. Whatever prints it, in text, JSON, YAML or a log field,
// shows "***" or, when it is not set, nothing.
type Secret struct {
	// A plain string field would be shown by %+v of the struct around it.
	text *string
}

// NewSecret wraps text; "" is a secret that is not set.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{text: &text}
}

// Reveal gives the secret itself, "" when it is not set. The only place for the
// result is an authentication exchange.
func (s Secret) Reveal() string {
	if s.text == nil {
		return ""
	}
	return *s.text
}

// IsSet reports whether there is a secret.
func (s Secret) IsSet() bool { return s.text != nil }

// String gives "***", or "" when the secret is not set.
func (s Secret) String() string {
	if s.text == nil {
		return ""
	}
	return redacted
}

// Format makes every verb of fmt, %#v and %x included, print what String gives.
func (s Secret) Format(f fmt.State, _ rune) {
	// A write to a fmt.State cannot fail in a way that could be reported.
	_, _ = f.Write([]byte(s.String()))
}

// MarshalText serves JSON, YAML and zap's reflecting encoder.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }
