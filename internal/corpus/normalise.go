package corpus

import (
	"bytes"
	"encoding/binary"
	"regexp"
)

// Normaliser blanks what may differ between two connections that mean the same.
// Its zero value blanks what always may: BackendKeyData, and the process ids in
// NotificationResponse and NoticeResponse.
type Normaliser struct {
	// ApplicationName also blanks the value of that ParameterStatus, for a
	// proxy that rewrites it.
	ApplicationName bool

	// Version also blanks what changes with a minor release of PostgreSQL:
	// server_version, and file, line and routine of an error. For goldens.
	Version bool
}

// processID matches the ids in messages such as "process 4711 still waiting".
var processID = regexp.MustCompile(`([Pp]rocess|PID) [0-9]+`)

// Stream returns a copy of a server stream with what may differ blanked. The
// number of messages never changes.
func (n Normaliser) Stream(stream []byte) []byte {
	out := make([]byte, 0, len(stream))
	for _, m := range Messages(stream) {
		if m.Broken {
			return append(out, m.Body...)
		}
		out = append(out, message(m.Type, n.body(m))...)
	}
	return out
}

func (n Normaliser) body(m Message) []byte {
	switch m.Type {
	case 'K':
		return make([]byte, 8)
	case 'A':
		if len(m.Body) >= 4 {
			body := bytes.Clone(m.Body)
			binary.BigEndian.PutUint32(body, 0)
			return body
		}
	case 'S':
		name, _, _ := bytes.Cut(m.Body, []byte{0})
		if n.ApplicationName && string(name) == "application_name" || n.Version && string(name) == "server_version" {
			return appendCString(appendCString(nil, string(name)), "*")
		}
	case 'N':
		return processID.ReplaceAll(n.fields(m.Body), []byte("$1 *"))
	case 'E':
		return n.fields(m.Body)
	}
	return m.Body
}

// fields blanks file, line and routine of an ErrorResponse or NoticeResponse.
func (n Normaliser) fields(body []byte) []byte {
	if !n.Version {
		return body
	}
	var out []byte
	for len(body) > 1 && body[0] != 0 {
		end := bytes.IndexByte(body, 0)
		if end < 0 {
			break
		}
		if f := body[0]; f == 'F' || f == 'L' || f == 'R' {
			out = appendCString(append(out, f), "*")
		} else {
			out = append(out, body[:end+1]...)
		}
		body = body[end+1:]
	}
	return append(out, body...)
}
