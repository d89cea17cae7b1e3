package auth

import (
	"errors"
	"strconv"
	"strings"

	"github.com/pgvip/pgvip/wire"
)

// errProof says that the client does not know the password.
var errProof = errors.New("wrong proof")

// scramServer is the server's half of one SCRAM-SHA-256 exchange:
//
//	client-first  --> first    server-first -->
//	client-final  --> final    server-final --> (or errProof)
type scramServer struct {
	verifier *Verifier
	nonce    string // our part
	// doomed exchanges are for users that do not exist: same steps, same time,
	// and never a success.
	doomed bool
	// binding is the channel binding of the client's TLS; nil where none can be
	// offered.
	binding []byte
	plus    bool // the client has chosen to be bound

	gs2         string // flag and identity, which the client repeats in client-final
	clientBare  string
	serverFirst string
	fullNonce   string
}

// first reads client-first and returns server-first.
func (s *scramServer) first(message []byte) ([]byte, error) {
	text := string(message)
	if strings.ContainsRune(text, 0) {
		return nil, malformed("The message contains a zero byte.")
	}
	bare, err := s.cutGS2(text)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(bare, "m=") {
		return nil, wire.Fatal(wire.CodeFeatureNotSupported,
			"client requires an unsupported SCRAM extension", "")
	}
	in := scanner{rest: bare}
	// The user name of the startup packet counts; PostgreSQL ignores this one
	// and libpq leaves it empty.
	in.next('n')
	clientNonce := in.next('r')
	in.extensions(0)
	if in.end() != nil {
		return nil, malformed("client-first-message has a missing, repeated or unexpected attribute.")
	}
	if !isNonce(clientNonce) {
		return nil, wire.Fatal(wire.CodeProtocolViolation, "non-printable characters in SCRAM nonce", "")
	}
	s.clientBare = bare
	s.fullNonce = clientNonce + s.nonce
	s.serverFirst = "r=" + s.fullNonce + ",s=" + encode64(s.verifier.Salt) +
		",i=" + strconv.Itoa(s.verifier.Iterations)
	return []byte(s.serverFirst), nil
}

// mechanisms are those to offer, best first.
func (s *scramServer) mechanisms() []string {
	if s.binding == nil {
		return []string{mechanism}
	}
	return []string{mechanismPlus, mechanism}
}

// choose takes the client's choice of them.
func (s *scramServer) choose(name string) bool {
	s.plus = s.binding != nil && name == mechanismPlus
	return s.plus || name == mechanism
}

// cutGS2 takes the GS2 header off.
func (s *scramServer) cutGS2(text string) (bare string, err error) {
	flag, rest, ok := strings.Cut(text, ",")
	authzid, bare, ok2 := strings.Cut(rest, ",")
	if !ok || !ok2 {
		return "", malformed("client-first-message has no GS2 header.")
	}
	if err := s.checkFlag(flag); err != nil {
		return "", err
	}
	if authzid != "" {
		return "", wire.Fatal(wire.CodeFeatureNotSupported,
			"client uses authorization identity, but it is not supported", "")
	}
	s.gs2 = flag + ",,"
	return bare, nil
}

// checkFlag holds the client's channel-binding flag against its choice of
// mechanism and our offer.
func (s *scramServer) checkFlag(flag string) error {
	kind, binds := strings.CutPrefix(flag, "p=")
	switch {
	case binds && !s.plus:
		return malformed("The client selected SCRAM-SHA-256 without channel binding, " +
			"but the SCRAM message includes channel binding data.")
	case binds && kind != bindingType:
		return wire.Fatal(wire.CodeProtocolViolation, "unsupported SCRAM channel-binding type", "")
	case binds:
		return nil
	case flag != "n" && flag != "y":
		return malformed("Unexpected channel-binding flag in client-first-message.")
	case s.plus:
		return malformed("The client selected SCRAM-SHA-256-PLUS, " +
			"but the SCRAM message does not include channel binding data.")
	case flag == "y" && s.binding != nil:
		// Somebody in between has taken SCRAM-SHA-256-PLUS off our offer.
		e := wire.Fatal(wire.CodeInvalidAuthorization, "SCRAM channel binding negotiation error", "")
		e.Detail = "The client supports SCRAM channel binding but thinks the server does not.  " +
			"However, this server does support channel binding."
		return e
	}
	return nil
}

// checkBinding reads what client-final says about the channel.
func (s *scramServer) checkBinding(encoded string) error {
	want := s.gs2
	if s.plus {
		want += string(s.binding)
	}
	switch {
	case encoded == encode64([]byte(want)):
		return nil
	case s.plus:
		return wire.Fatal(wire.CodeInvalidAuthorization, "SCRAM channel binding check failed", "")
	}
	return wire.Fatal(wire.CodeProtocolViolation,
		"unexpected SCRAM channel-binding attribute in client-final-message", "")
}

// final reads client-final and returns server-final and the keys that the
// client has shown to own. A wrong proof is errProof; every other error is a
// *wire.Error.
func (s *scramServer) final(message []byte) ([]byte, *Keys, error) {
	text := string(message)
	in := scanner{rest: text}
	binding := in.next('c')
	nonce := in.next('r')
	in.extensions('p')
	withoutProof := strings.TrimSuffix(text[:len(text)-len(in.rest)], ",")
	proofText := in.next('p')
	var proof [keySize]byte
	unbound := s.checkBinding(binding)
	switch {
	case in.end() != nil:
		return nil, nil, malformed("client-final-message has a missing, repeated or unexpected attribute.")
	case unbound != nil:
		return nil, nil, unbound
	case !equal(nonce, s.fullNonce):
		e := wire.Fatal(wire.CodeProtocolViolation, "invalid SCRAM response", "")
		e.Detail = "Nonce does not match."
		return nil, nil, e
	case !decodeKey(&proof, proofText):
		return nil, nil, malformed("Malformed proof in client-final-message.")
	}
	v := s.verifier
	authMessage := s.clientBare + "," + s.serverFirst + "," + withoutProof
	clientKey, ok := keyFromProof(proof, v, authMessage)
	signature := hmacSHA256(v.ServerKey[:], authMessage)
	if !ok || s.doomed {
		return nil, nil, errProof
	}
	keys := &Keys{ClientKey: clientKey, StoredKey: v.StoredKey, ServerKey: v.ServerKey,
		Salt: v.Salt, Iterations: v.Iterations}
	return []byte("v=" + encode64(signature[:])), keys, nil
}

// malformed is PostgreSQL's answer to a SCRAM message that breaks the grammar.
func malformed(detail string) *wire.Error {
	e := wire.Fatal(wire.CodeProtocolViolation, "malformed SCRAM message", "")
	e.Detail = detail
	return e
}
