package wire

import (
	"bytes"
	"strings"
)

// SQLSTATE codes that pgvip itself sends or decides by. PostgreSQL
// documentation, appendix "PostgreSQL Error Codes".
const (
	CodeSuccess                = "00000"
	CodeProtocolViolation      = "08P01"
	CodeConnectionFailure      = "08006"
	CodeTransactionUnknown     = "08007"
	CodeFeatureNotSupported    = "0A000"
	CodeInvalidParameterValue  = "22023"
	CodeActiveTransaction      = "25001"
	CodeReadOnlyTransaction    = "25006"
	CodeIdleInTransaction      = "25P03"
	CodeTransactionTimeout     = "25P04"
	CodeInvalidStatementName   = "26000"
	CodeInvalidAuthorization   = "28000"
	CodeInvalidPassword        = "28P01"
	CodeInvalidCatalogName     = "3D000"
	CodeInvalidCursorName      = "34000"
	CodeDuplicateCursor        = "42P03"
	CodeInsufficientPrivilege  = "42501"
	CodeUndefinedObject        = "42704"
	CodeDuplicatePrepared      = "42P05"
	CodeOutOfMemory            = "53200"
	CodeTooManyConnections     = "53300"
	CodeProgramLimitExceeded   = "54000"
	CodeNotInPrerequisiteState = "55000"
	CodeCantChangeRuntimeParam = "55P02"
	CodeQueryCanceled          = "57014"
	CodeAdminShutdown          = "57P01"
	CodeCannotConnectNow       = "57P03"
	CodeIdleSession            = "57P05"
	CodeConfigFile             = "F0000"
	CodeInternalError          = "XX000"
)

// Severities of an ErrorResponse, field 'V' (never localised).
const (
	SeverityError  = "ERROR"
	SeverityFatal  = "FATAL"
	SeverityPanic  = "PANIC"
	SeverityNotice = "NOTICE"
)

// Error is an ErrorResponse (or NoticeResponse): one that pgvip sends, or one
// that it has read from a server. Fields that are absent are empty.
type Error struct {
	Severity string // ERROR, FATAL or PANIC, or NOTICE
	Code     string // SQLSTATE, five characters
	Message  string
	Detail   string
	Hint     string

	// Raw is the body as it came from a server, nil for errors of our own. It
	// is passed on verbatim so that no field is lost.
	Raw []byte
}

// Error gives severity, message and SQLSTATE, as psql -v VERBOSITY=verbose does.
func (e *Error) Error() string {
	return e.Severity + ": " + e.Message + " (SQLSTATE " + e.Code + ")"
}

// Fatal reports whether the server closes the connection after this error.
func (e *Error) Fatal() bool {
	return e.Severity == SeverityFatal || e.Severity == SeverityPanic
}

// Fatal builds a FATAL of our own: the connection ends after it.
func Fatal(code, message, hint string) *Error {
	return &Error{Severity: SeverityFatal, Code: code, Message: message, Hint: hint}
}

// Append appends the whole ErrorResponse message, type byte included, or for a
// notice of our own the NoticeResponse. An error read from a server goes out byte
// for byte as it came.
func (e *Error) Append(dst []byte) []byte {
	if e.Raw != nil {
		dst = appendHeader(dst, 'E', len(e.Raw))
		return append(dst, e.Raw...)
	}
	start := len(dst)
	typ := byte('E')
	if e.Severity == SeverityNotice {
		typ = 'N'
	}
	dst = append(dst, typ, 0, 0, 0, 0)
	dst = appendField(dst, 'S', e.Severity)
	dst = appendField(dst, 'V', e.Severity)
	dst = appendField(dst, 'C', e.Code)
	dst = appendField(dst, 'M', e.Message)
	dst = appendField(dst, 'D', e.Detail)
	dst = appendField(dst, 'H', e.Hint)
	dst = append(dst, 0)
	putLength(dst[start+1:], len(dst)-start-1)
	return dst
}

func appendField(dst []byte, field byte, value string) []byte {
	if value == "" {
		return dst
	}
	dst = append(dst, field)
	// A NUL would end the field early and shift all that follow.
	dst = append(dst, strings.ReplaceAll(value, "\x00", "")...)
	return append(dst, 0)
}

// ParseError reads the body of an ErrorResponse or NoticeResponse. It never
// fails: what is malformed or missing stays empty (CVE-2026-6666 was a crash on
// an ErrorResponse without SQLSTATE). The result keeps its own copy of body.
func ParseError(body []byte) *Error {
	e := &Error{Raw: bytes.Clone(body)}
	if e.Raw == nil {
		e.Raw = []byte{}
	}
	for len(body) > 1 && body[0] != 0 {
		field := body[0]
		end := bytes.IndexByte(body[1:], 0)
		if end < 0 {
			break
		}
		e.set(field, string(body[1:1+end]))
		body = body[2+end:]
	}
	return e
}

func (e *Error) set(field byte, value string) {
	switch field {
	case 'S':
		if e.Severity == "" {
			e.Severity = value
		}
	case 'V':
		// Since PostgreSQL 9.6; unlike 'S' it is never translated.
		e.Severity = value
	case 'C':
		e.Code = value
	case 'M':
		e.Message = value
	case 'D':
		e.Detail = value
	case 'H':
		e.Hint = value
	}
}

func appendHeader(dst []byte, typ byte, body int) []byte {
	n := body + 4
	return append(dst, typ, byte(n>>24), byte(n>>16), byte(n>>8), byte(n))
}

func putLength(dst []byte, n int) {
	dst[0], dst[1], dst[2], dst[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
}
