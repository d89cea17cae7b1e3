package dial

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/pgvip/pgvip/auth"
	"github.com/pgvip/pgvip/wire"
)

// loginBudget bounds what a server may send up to its first ReadyForQuery, in
// bytes. PostgreSQL 15 sends about 500; before the login is through the server
// is a stranger.
const loginBudget = 64 << 10

// Bounds of the secret of BackendKeyData in bytes (protocol 3.2 allows 256).
const (
	minSecretKey = 4
	maxSecretKey = 256
)

// Login connects and logs in, in the time that ctx gives. The caller owns the
// Conn. The server's own refusal is returned verbatim as a *wire.Error (Raw is
// set), anything else as an *Error.
func Login(ctx context.Context, cfg *Config) (*Conn, error) {
	c, err := loginOnce(ctx, cfg, cfg.encrypted())
	if cfg.refusedPlain(err) {
		return loginOnce(ctx, cfg, true)
	}
	return c, err
}

// loginOnce is Login over one connection.
func loginOnce(ctx context.Context, cfg *Config, encrypted bool) (*Conn, error) {
	conn, err := connect(ctx, cfg)
	if err != nil {
		return nil, explain(ctx, OpConnect, cfg.Address, err)
	}
	c := &Conn{address: cfg.Address, socket: conn, stream: stream{conn: conn}}
	err = c.run(ctx, OpLogin, loginBudget, func() error {
		if encrypted {
			if err := c.secure(cfg); err != nil {
				return err
			}
		}
		return c.login(cfg)
	})
	if err != nil {
		return nil, err
	}
	return c, nil
}

// login follows "Start-up" in the documentation's chapter on message flow:
//
//	StartupMessage --> [Authentication <-> answer]* --> AuthenticationOk
//	  --> [ParameterStatus | BackendKeyData | Notice]* --> ReadyForQuery
func (c *Conn) login(cfg *Config) error {
	hello := wire.Startup{Code: wire.ProtocolVersion30}
	hello.Params = append(hello.Params, wire.Param{Name: "user", Value: cfg.User})
	if cfg.Database != "" {
		hello.Params = append(hello.Params, wire.Param{Name: "database", Value: cfg.Database})
	}
	hello.Params = append(hello.Params, cfg.Params...)
	if err := c.send(hello.Append(nil)); err != nil {
		return err
	}
	if err := c.authenticate(cfg); err != nil {
		return err
	}
	return c.greeting()
}

// authenticate answers the server's requests until it lets us in.
func (c *Conn) authenticate(cfg *Config) error {
	client := auth.NewClient(auth.ClientConfig{User: cfg.User, Credential: cfg.Credential,
		Cache: cfg.KeyCache, MinIterations: cfg.MinIterations, Binding: c.binding(), Rand: cfg.Rand})
	for first := true; ; first = false {
		typ, body, err := c.stream.next()
		if first {
			if err = c.firstReply(typ, err); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		switch typ {
		case 'R':
			send, done, err := client.Step(body)
			if err != nil || done {
				return err
			}
			if err := c.send(send); err != nil {
				return err
			}
		case 'E':
			return wire.ParseError(body)
		case 'v':
			if err := checkVersion(body); err != nil {
				return err
			}
		case 'N':
		default:
			return fmt.Errorf("%w: message %q during authentication", ErrProtocol, typ)
		}
	}
}

// firstReply looks at how the server begins, and explains what is no PostgreSQL.
func (c *Conn) firstReply(typ byte, err error) error {
	var tooLong *lengthError
	switch {
	case err != nil && !errors.Is(err, ErrProtocol):
		return err
	case typ == 'E' && errors.As(err, &tooLong):
		return c.ancientError()
	case err != nil || bytes.IndexByte([]byte("REvN"), typ) < 0:
		return fmt.Errorf("%w: no PostgreSQL server: it begins with %q", ErrProtocol,
			c.stream.buf[:min(c.stream.w, 16)])
	}
	return nil
}

// ancientError reads an error in the form of protocol 2: 'E', text, NUL. The
// postmaster of every version sends it when it cannot fork a backend.
func (c *Conn) ancientError() error {
	const limit = 1024
	text := c.stream.unread()
	end := bytes.IndexByte(text, 0)
	for end < 0 && len(text) < limit && c.stream.fill(len(text)+1) == nil {
		text = c.stream.unread()
		end = bytes.IndexByte(text, 0)
	}
	if end < 0 {
		end = min(len(text), limit)
	}
	message := string(bytes.TrimSpace(text[1:end]))
	return wire.Fatal(wire.CodeCannotConnectNow, message, "")
}

// checkVersion reads NegotiateProtocolVersion. Protocol 3.0 was asked for and
// nothing less is spoken, so all that the server may do is to list protocol
// extensions that it does not know.
func checkVersion(body []byte) error {
	if len(body) < 8 || binary.BigEndian.Uint32(body) != wire.ProtocolVersion30 {
		return fmt.Errorf("%w: NegotiateProtocolVersion %x in answer to 3.0", ErrProtocol, body[:min(len(body), 8)])
	}
	return nil
}

// greeting reads what follows AuthenticationOk.
func (c *Conn) greeting() error {
	for {
		typ, body, err := c.stream.next()
		if err != nil {
			return err
		}
		switch typ {
		case 'K':
			err = c.setKey(body)
		case 'E':
			return wire.ParseError(body)
		case 'Z':
			if err = c.setStatus(body); err == nil && c.status != 'I' {
				err = fmt.Errorf("%w: transaction status %q after login", ErrProtocol, c.status)
			}
			return err
		default:
			var ok bool
			if ok, err = c.asynchronous(typ, body); !ok {
				err = fmt.Errorf("%w: message %q before ReadyForQuery", ErrProtocol, typ)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (c *Conn) setKey(body []byte) error {
	if len(body) < 4+minSecretKey || len(body) > 4+maxSecretKey || c.secretKey != nil {
		return fmt.Errorf("%w: BackendKeyData of %d bytes", ErrProtocol, len(body))
	}
	c.processID = binary.BigEndian.Uint32(body)
	c.secretKey = bytes.Clone(body[4:])
	return nil
}
