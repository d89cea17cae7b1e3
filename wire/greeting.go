package wire

import "encoding/binary"

// Codes of the 'R' messages by which a server asks for a login or accepts it.
// PostgreSQL documentation, "Message Formats", Authentication*.
const (
	AuthOk                = 0
	AuthCleartextPassword = 3
	AuthMD5Password       = 5
	AuthSASL              = 10
	AuthSASLContinue      = 11
	AuthSASLFinal         = 12
)

// AppendAuthentication appends an Authentication message: its code and what the
// code calls for (nothing, a salt, a list of mechanisms, SASL data).
func AppendAuthentication(dst []byte, code uint32, data []byte) []byte {
	dst = appendHeader(dst, 'R', 4+len(data))
	dst = binary.BigEndian.AppendUint32(dst, code)
	return append(dst, data...)
}

// AppendAuthenticationSASL appends the offer of SASL mechanisms, best first.
func AppendAuthenticationSASL(dst []byte, mechanisms ...string) []byte {
	var list []byte
	for _, m := range mechanisms {
		list = appendString(list, m)
	}
	return AppendAuthentication(dst, AuthSASL, append(list, 0))
}

// AppendParameterStatus appends the report of one parameter's value.
func AppendParameterStatus(dst []byte, p Param) []byte {
	start := len(dst)
	dst = append(dst, 'S', 0, 0, 0, 0)
	dst = appendString(dst, p.Name)
	dst = appendString(dst, p.Value)
	putLength(dst[start+1:], len(dst)-start-1)
	return dst
}

// AppendBackendKeyData appends what the client needs to cancel its queries. The
// key has exactly four bytes before protocol 3.2, and 4 to 256 since.
func AppendBackendKeyData(dst []byte, processID uint32, key []byte) []byte {
	dst = appendHeader(dst, 'K', 4+len(key))
	dst = binary.BigEndian.AppendUint32(dst, processID)
	return append(dst, key...)
}

// AppendReadyForQuery appends the end of a cycle; status is 'I', 'T' or 'E'.
func AppendReadyForQuery(dst []byte, status byte) []byte {
	return append(appendHeader(dst, 'Z', 1), status)
}

// AppendNegotiateProtocolVersion appends the answer to a client that asked for
// more than is spoken here: the version that will be spoken, in full (libpq
// reads major and minor), and the protocol extensions that are not known.
func AppendNegotiateProtocolVersion(dst []byte, version uint32, unknown []string) []byte {
	start := len(dst)
	dst = append(dst, 'v', 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(unknown)))
	for _, name := range unknown {
		dst = appendString(dst, name)
	}
	putLength(dst[start+1:], len(dst)-start-1)
	return dst
}

// AppendPassword appends a PasswordMessage: the password itself or its MD5
// answer. The same message type carries SASL responses.
func AppendPassword(dst []byte, password string) []byte {
	start := len(dst)
	dst = append(dst, 'p', 0, 0, 0, 0)
	dst = appendString(dst, password)
	putLength(dst[start+1:], len(dst)-start-1)
	return dst
}

// AppendSASLInitialResponse appends the client's choice of mechanism together
// with its first message.
func AppendSASLInitialResponse(dst []byte, mechanism string, data []byte) []byte {
	start := len(dst)
	dst = append(dst, 'p', 0, 0, 0, 0)
	dst = appendString(dst, mechanism)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(data)))
	dst = append(dst, data...)
	putLength(dst[start+1:], len(dst)-start-1)
	return dst
}

// AppendSASLResponse appends a later message of the client in a SASL exchange.
func AppendSASLResponse(dst, data []byte) []byte {
	return append(appendHeader(dst, 'p', len(data)), data...)
}
