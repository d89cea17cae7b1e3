package pgscript

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Message builds a message of the given type and body; a script may cut it.
func Message(kind byte, body []byte) []byte {
	return append([]byte{kind}, packet(body)...)
}

// packet puts a length, which counts itself, before a body.
func packet(body []byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(body))+4), body...)
}

// Strings builds a body of strings that each end with a zero byte.
func Strings(texts ...string) []byte {
	var body []byte
	for _, text := range texts {
		body = append(append(body, text...), 0)
	}
	return body
}

// Startup builds a StartupMessage of protocol 3.0; parameters are names and
// values in turn: "user", "app", "database", "app".
func Startup(parameters ...string) []byte {
	body := binary.BigEndian.AppendUint32(nil, 3<<16)
	return packet(append(append(body, Strings(parameters...)...), 0))
}

// Request codes that take the place of a version in a startup packet, from
// PostgreSQL's src/include/libpq/pqcomm.h.
const (
	CodeCancel = 80877102
	CodeSSL    = 80877103
	CodeGSSEnc = 80877104
)

// SSLRequest builds the question for TLS.
func SSLRequest() []byte { return packet(binary.BigEndian.AppendUint32(nil, CodeSSL)) }

// CancelRequest builds the request to cancel what the backend with that key does.
func CancelRequest(pid, key uint32) []byte {
	body := binary.BigEndian.AppendUint32(nil, CodeCancel)
	body = binary.BigEndian.AppendUint32(body, pid)
	return packet(binary.BigEndian.AppendUint32(body, key))
}

// Query builds a simple query.
func Query(sql string) []byte { return Message('Q', Strings(sql)) }

// Terminate builds the client's goodbye.
func Terminate() []byte { return Message('X', nil) }

// AuthOK builds AuthenticationOk.
func AuthOK() []byte { return Message('R', make([]byte, 4)) }

// Status builds a ParameterStatus.
func Status(name, value string) []byte { return Message('S', Strings(name, value)) }

// BackendKey builds a BackendKeyData of protocol 3.0.
func BackendKey(pid, key uint32) []byte {
	body := binary.BigEndian.AppendUint32(nil, pid)
	return Message('K', binary.BigEndian.AppendUint32(body, key))
}

// Ready builds a ReadyForQuery: 'I' idle, 'T' in a transaction, 'E' in a failed
// one.
func Ready(status byte) []byte { return Message('Z', []byte{status}) }

// Row builds a DataRow of text columns.
func Row(columns ...string) []byte {
	body := binary.BigEndian.AppendUint16(nil, uint16(len(columns)))
	for _, column := range columns {
		body = binary.BigEndian.AppendUint32(body, uint32(len(column)))
		body = append(body, column...)
	}
	return Message('D', body)
}

// Columns builds a RowDescription of text columns.
func Columns(names ...string) []byte {
	const textOID = 25
	body := binary.BigEndian.AppendUint16(nil, uint16(len(names)))
	for _, name := range names {
		body = append(body, Strings(name)...)
		body = append(body, 0, 0, 0, 0, 0, 0) // of no table
		body = binary.BigEndian.AppendUint32(body, textOID)
		body = append(body, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0) // any length, no modifier, text
	}
	return Message('T', body)
}

// Complete builds a CommandComplete: "SELECT 1".
func Complete(tag string) []byte { return Message('C', Strings(tag)) }

// Error builds an ErrorResponse.
func Error(severity, code, message string) []byte {
	return Message('E', append(Strings("S"+severity, "V"+severity, "C"+code, "M"+message), 0))
}

// Statuses are the ParameterStatus messages of a PostgreSQL 15 that is primary
// or, with standby "on", in recovery.
func Statuses(standby string) []byte {
	var all []byte
	for _, p := range [][2]string{
		{"application_name", ""}, {"client_encoding", "UTF8"}, {"DateStyle", "ISO, MDY"},
		{"default_transaction_read_only", "off"}, {"in_hot_standby", standby},
		{"integer_datetimes", "on"}, {"IntervalStyle", "postgres"}, {"is_superuser", "off"},
		{"server_encoding", "UTF8"}, {"server_version", "15.18"}, {"session_authorization", "app"},
		{"standard_conforming_strings", "on"}, {"TimeZone", "Etc/UTC"},
	} {
		all = append(all, Status(p[0], p[1])...)
	}
	return all
}

// AcceptLogin is a primary that lets everyone in: it expects a StartupMessage
// and answers up to ReadyForQuery. Its cancel key is pid 1, key 2. A CancelRequest,
// which has a connection of its own, ends the script there, as no failure.
func AcceptLogin() Step {
	return Steps(ExpectStartup(), sessionOnly, Send(AuthOK(), Statuses("off"), BackendKey(1, 2), Ready('I')))
}

// errCancelRequest ends the script of a connection that is for no session.
var errCancelRequest = errors.New("a cancel request instead of a login")

func sessionOnly(c *Conn) error {
	if len(c.Got) >= 4 && binary.BigEndian.Uint32(c.Got) == CodeCancel {
		return errCancelRequest
	}
	return nil
}

// Login is a client that logs in where no password is asked for, up to
// ReadyForQuery.
func Login(user, database string) Step {
	return func(c *Conn) error {
		steps := []Step{Send(Startup("user", user, "database", database)), Expect("R"), ExpectUntil('Z')}
		if err := c.play(steps); err != nil {
			return fmt.Errorf("log in as %s: %w", user, err)
		}
		return nil
	}
}

// Parse is a Parse of sql without parameter types.
func Parse(name, sql string) []byte {
	return Message('P', append(Strings(name, sql), 0, 0))
}

// Bind is a Bind without parameters, for results in text.
func Bind(portal, statement string) []byte {
	return Message('B', append(Strings(portal, statement), 0, 0, 0, 0, 0, 0))
}

// Execute asks for all rows of a portal.
func Execute(portal string) []byte {
	return Message('E', append(Strings(portal), 0, 0, 0, 0))
}

// Sync ends a batch.
func Sync() []byte { return Message('S', nil) }
