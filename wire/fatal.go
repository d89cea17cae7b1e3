package wire

import "bytes"

// IsFatal reports whether the ErrorResponse at the start of message, header
// included, ends the connection. It looks at field 'V', or at 'S' of servers
// before 9.6, allocates nothing, and takes a message that is cut short.
func IsFatal(message []byte) bool {
	if len(message) < HeaderSize || message[0] != 'E' {
		return false
	}
	fatal := false
	for body := message[HeaderSize:]; len(body) > 1 && body[0] != 0; {
		end := bytes.IndexByte(body, 0)
		if end < 0 {
			return fatal
		}
		value := body[1:end]
		switch body[0] {
		case 'V':
			return string(value) == SeverityFatal || string(value) == SeverityPanic
		case 'S':
			fatal = string(value) == SeverityFatal || string(value) == SeverityPanic
		}
		body = body[end+1:]
	}
	return fatal
}
