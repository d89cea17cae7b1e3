package auth

import "fmt"

const redacted = "[redacted]"

// String redacts the secret.
func (Secret) String() string { return redacted }

// Format redacts the secret whatever the verb.
func (Secret) Format(f fmt.State, _ rune) { writeRedacted(f) }

// MarshalText redacts the secret in JSON, YAML and structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String redacts the verifier; Encode shows it.
func (Verifier) String() string { return redacted }

// Format redacts the verifier whatever the verb.
func (Verifier) Format(f fmt.State, _ rune) { writeRedacted(f) }

// MarshalText redacts the verifier in JSON, YAML and structured logs.
func (Verifier) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String redacts the keys.
func (Keys) String() string { return redacted }

// Format redacts the keys whatever the verb.
func (Keys) Format(f fmt.State, _ rune) { writeRedacted(f) }

// MarshalText redacts the keys in JSON, YAML and structured logs.
func (Keys) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// String redacts the credential.
func (Credential) String() string { return redacted }

// Format redacts the credential whatever the verb.
func (Credential) Format(f fmt.State, _ rune) { writeRedacted(f) }

// MarshalText redacts the credential in JSON, YAML and structured logs.
func (Credential) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// writeRedacted ignores the error as fmt itself does: a State has nowhere to
// report it.
func writeRedacted(f fmt.State) { _, _ = f.Write([]byte(redacted)) }
