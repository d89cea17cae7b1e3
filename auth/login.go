package auth

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/pgvip/pgvip/wire"
)

// maxPasswordMessage bounds the body of a cleartext password message in bytes,
// as PostgreSQL's PG_MAX_AUTH_TOKEN_LENGTH does.
const maxPasswordMessage = 65535

// loginPhase is what a Login waits for.
type loginPhase int

const (
	loginStart loginPhase = iota
	awaitPassword
	awaitMD5
	awaitSASLInitial
	awaitClientFirst // the initial message had no data
	awaitClientFinal
	loginOver
)

// Login logs one client in. Start gives the first message to send; then the
// body of each 'p' message from the client goes to Step, until one of them says
// done or returns an error, which ends the connection.
//
//	loginStart --trust, any, cert, peer--> loginOver
//	    |--plain--> awaitPassword --> loginOver
//	    |--md5--> awaitMD5 --> loginOver
//	    `--scram--> awaitSASLInitial [--> awaitClientFirst] --> awaitClientFinal --> loginOver
//
// With md5, a user whose secret is a SCRAM verifier is asked for SCRAM, as with
// PostgreSQL and PgBouncer; so is a user who does not exist, but for MD5Share.
type Login struct {
	server *Server
	method Method
	user   string
	secret Secret
	found  bool
	system string    // who the connection itself says the client is; cert and peer
	idents *IdentMap // for it

	phase      loginPhase
	binding    []byte // of the client's TLS; nil without
	salt       [saltSizeMD5]byte
	scram      *scramServer
	credential Credential
	reason     string
}

// Begin prepares the login of user by method. secret is what is stored for the
// user, found whether the user exists at all.
func (s *Server) Begin(method Method, user string, secret Secret, found bool) *Login {
	if !found {
		secret = Secret{}
	}
	if method == MD5 && (secret.kind == SCRAMSecret || !found && !s.mocksMD5(user)) {
		method = SCRAM
	}
	return &Login{server: s, method: method, user: user, secret: secret, found: found}
}

// Identify tells who the connection itself says the client is: the name in the
// client's certificate for Cert, the owner of the process at the other end for
// Peer, and "" when nobody is known. m says whom that may log in as, nil only
// its namesake. It is to be called before Start.
func (l *Login) Identify(system string, m *IdentMap) { l.system, l.idents = system, m }

// Bind says what the client's TLS can be bound by, our certificate's
// tls-server-end-point, so that SCRAM-SHA-256-PLUS is offered. Before Start.
func (l *Login) Bind(binding []byte) { l.binding = binding }

// Credential returns what the login has brought that opens servers. It is valid
// once Start or Step has said done, and may be empty (trust, no secret stored).
func (l *Login) Credential() Credential { return l.credential }

// Method is how the client is asked: SCRAM where md5 became that.
func (l *Login) Method() Method { return l.method }

// Reason tells the operator why the login was refused; it holds no secret. The
// client is told less, see Step. Empty unless there was an error.
func (l *Login) Reason() string { return l.reason }

// MaxMessage bounds the body of the client's next message in bytes. The reader
// enforces it before it keeps anything.
func (l *Login) MaxMessage() int {
	if l.method == Password {
		return maxPasswordMessage
	}
	return maxSASLMessage
}

// Start returns the first message to send to the client. done says that it is
// AuthenticationOk already (trust).
func (l *Login) Start() (send []byte, done bool, err *wire.Error) {
	switch l.method {
	case Trust:
		if !l.found {
			l.phase, l.reason = loginOver, "no such user"
			return nil, false, wire.Fatal(wire.CodeInvalidAuthorization,
				"role \""+l.user+"\" does not exist", "")
		}
		return l.succeed(nil, l.secret.Credential())
	case Any:
		return l.succeed(nil, Credential{})
	case Cert, Peer:
		return l.startIdentity()
	case Password:
		l.phase = awaitPassword
		return wire.AppendAuthentication(nil, wire.AuthCleartextPassword, nil), false, nil
	case MD5:
		if _, err := io.ReadFull(l.server.cfg.Rand, l.salt[:]); err != nil {
			return l.broken(err)
		}
		l.phase = awaitMD5
		return wire.AppendAuthentication(nil, wire.AuthMD5Password, l.salt[:]), false, nil
	case SCRAM:
		nonce, err := newNonce(l.server.cfg.Rand)
		if err != nil {
			return l.broken(err)
		}
		v, doomed := l.server.verifier(l.user, l.secret)
		l.scram = &scramServer{verifier: v, nonce: nonce, doomed: doomed, binding: l.binding}
		l.phase = awaitSASLInitial
		return wire.AppendAuthenticationSASL(nil, l.scram.mechanisms()...), false, nil
	}
	return l.broken(fmt.Errorf("BUG: %s", l.method))
}

// startIdentity lets in whom the connection vouches for. What is refused is told
// in PostgreSQL's words, the same for users who do not exist.
func (l *Login) startIdentity() ([]byte, bool, *wire.Error) {
	allowed := l.idents.Allows(l.system, l.user)
	if allowed && l.found {
		return l.succeed(nil, l.secret.Credential())
	}
	name, source := "Peer", "the process at the other end of the socket"
	if l.method == Cert {
		name, source = "certificate", "the client's certificate"
	}
	l.phase = loginOver
	switch {
	case l.system == "":
		l.reason = "nothing is known of " + source
	case !allowed && l.idents != nil:
		l.reason = fmt.Sprintf("%s is of %q, whom the map does not let in as this user", source, l.system)
	case !allowed:
		l.reason = fmt.Sprintf("%s is of %q", source, l.system)
	default:
		l.reason = "no such user"
	}
	return nil, false, wire.Fatal(wire.CodeInvalidAuthorization,
		name+" authentication failed for user \""+l.user+"\"", "")
}

// Step reads the body of the client's next 'p' message and returns what to send.
// When done, that ends with AuthenticationOk. An error is for the client: FATAL
// 28P01 in PostgreSQL's words, which do not say whether the user exists, or
// 08P01 for a message that makes no sense.
func (l *Login) Step(body []byte) (send []byte, done bool, err *wire.Error) {
	if len(body) > l.MaxMessage() {
		return l.refuse(wire.Fatal(wire.CodeProtocolViolation, "invalid authentication message length", ""))
	}
	switch l.phase {
	case awaitPassword:
		return l.stepPassword(body)
	case awaitMD5:
		return l.stepMD5(body)
	case awaitSASLInitial:
		return l.stepInitial(body)
	case awaitClientFirst:
		return l.stepFirst(body)
	case awaitClientFinal:
		return l.stepFinal(body)
	}
	return l.refuse(wire.Fatal(wire.CodeProtocolViolation, "authentication message out of turn", ""))
}

func (l *Login) stepPassword(body []byte) ([]byte, bool, *wire.Error) {
	password, err := cutPassword(body)
	if err != nil {
		return l.refuse(err)
	}
	if !l.server.checkPassword(l.user, password, l.secret) {
		return l.fail()
	}
	return l.succeed(nil, Credential{Password: password})
}

func (l *Login) stepMD5(body []byte) ([]byte, bool, *wire.Error) {
	answer, err := cutPassword(body)
	if err != nil {
		return l.refuse(err)
	}
	hash, doomed := l.server.md5Hash(l.user, l.secret)
	if !equal(answer, answerMD5(hash, l.salt[:])) || doomed {
		return l.fail()
	}
	return l.succeed(nil, l.secret.Credential())
}

// stepInitial reads SASLInitialResponse: mechanism, length, data. A length of -1
// means no data, which the server answers with an empty challenge.
func (l *Login) stepInitial(body []byte) ([]byte, bool, *wire.Error) {
	name, rest, ok := bytes.Cut(body, []byte{0})
	if !ok || len(rest) < 4 {
		return l.refuse(wire.Fatal(wire.CodeProtocolViolation, "malformed SASLInitialResponse message", ""))
	}
	if !l.scram.choose(string(name)) {
		return l.refuse(wire.Fatal(wire.CodeProtocolViolation,
			"client selected an invalid SASL authentication mechanism", ""))
	}
	length, data := int32(binary.BigEndian.Uint32(rest)), rest[4:]
	if length == -1 && len(data) == 0 {
		l.phase = awaitClientFirst
		return wire.AppendAuthentication(nil, wire.AuthSASLContinue, nil), false, nil
	}
	if int(length) != len(data) {
		return l.refuse(wire.Fatal(wire.CodeProtocolViolation, "malformed SASLInitialResponse message", ""))
	}
	return l.stepFirst(data)
}

func (l *Login) stepFirst(data []byte) ([]byte, bool, *wire.Error) {
	reply, err := l.scram.first(data)
	if err != nil {
		return l.scramError(err)
	}
	l.phase = awaitClientFinal
	return wire.AppendAuthentication(nil, wire.AuthSASLContinue, reply), false, nil
}

func (l *Login) stepFinal(data []byte) ([]byte, bool, *wire.Error) {
	reply, keys, err := l.scram.final(data)
	if err != nil {
		return l.scramError(err)
	}
	credential := l.secret.Credential()
	credential.Keys = keys
	return l.succeed(wire.AppendAuthentication(nil, wire.AuthSASLFinal, reply), credential)
}

func (l *Login) scramError(err error) ([]byte, bool, *wire.Error) {
	var e *wire.Error
	if errors.As(err, &e) {
		return l.refuse(e)
	}
	return l.fail()
}

func (l *Login) succeed(send []byte, c Credential) ([]byte, bool, *wire.Error) {
	l.phase, l.credential = loginOver, c
	return wire.AppendAuthentication(send, wire.AuthOk, nil), true, nil
}

// fail refuses a wrong secret, in the same words whatever was wrong.
func (l *Login) fail() ([]byte, bool, *wire.Error) {
	l.phase = loginOver
	switch {
	case !l.found:
		l.reason = "no such user"
	case l.secret.kind == NoSecret:
		l.reason = "no password is stored for the user"
	case l.method == SCRAM && l.secret.kind == MD5Secret:
		l.reason = "auth_type scram-sha-256 needs a plain password or a SCRAM verifier; stored is an MD5 hash"
	default:
		l.reason = "wrong password (stored is " + l.secret.kind.String() + ")"
	}
	return nil, false, wire.Fatal(wire.CodeInvalidPassword,
		"password authentication failed for user \""+l.user+"\"", "")
}

func (l *Login) refuse(err *wire.Error) ([]byte, bool, *wire.Error) {
	l.phase, l.reason = loginOver, err.Message
	if err.Detail != "" {
		l.reason += ": " + err.Detail
	}
	return nil, false, err
}

func (l *Login) broken(err error) ([]byte, bool, *wire.Error) {
	l.phase, l.reason = loginOver, err.Error()
	return nil, false, wire.Fatal(wire.CodeInternalError, "authentication is out of order", "")
}

// cutPassword reads the body of a PasswordMessage: one string, not empty. An
// empty password is refused as PostgreSQL does: some libraries send it when they
// have none.
func cutPassword(body []byte) (string, *wire.Error) {
	if len(body) == 0 || bytes.IndexByte(body, 0) != len(body)-1 {
		return "", wire.Fatal(wire.CodeProtocolViolation, "invalid password packet size", "")
	}
	if len(body) == 1 {
		return "", wire.Fatal(wire.CodeInvalidPassword, "empty password returned by client", "")
	}
	return string(body[:len(body)-1]), nil
}
