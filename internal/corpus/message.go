package corpus

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// protocolVersion is 3.0, the version every PostgreSQL since 7.4 speaks.
const protocolVersion = 3 << 16

// encoders build the client messages by type byte. Everything is written by
// hand because a transcript must also be able to say what a library would not.
var encoders = map[string]func([]word) ([]byte, error){
	"Q":     encodeStrings('Q', 1),
	"P":     encodeParse,
	"B":     encodeBind,
	"D":     encodeTarget('D'),
	"C":     encodeTarget('C'),
	"E":     encodeExecute,
	"S":     encodeStrings('S', 0),
	"H":     encodeStrings('H', 0),
	"X":     encodeStrings('X', 0),
	"c":     encodeStrings('c', 0),
	"f":     encodeStrings('f', 1),
	"d":     encodeCopyData,
	"F":     encodeFunctionCall,
	"raw":   encodeRaw,
	"bytes": encodeBytes,
}

// message adds type byte and length to a body.
func message(typ byte, body []byte) []byte {
	out := make([]byte, 5, 5+len(body))
	out[0] = typ
	binary.BigEndian.PutUint32(out[1:], uint32(len(body)+4))
	return append(out, body...)
}

func encodeStrings(typ byte, n int) func([]word) ([]byte, error) {
	return func(args []word) ([]byte, error) {
		if len(args) != n {
			return nil, fmt.Errorf("%c takes %d words, has %d", typ, n, len(args))
		}
		var body []byte
		for _, a := range args {
			body = appendCString(body, a.text)
		}
		return message(typ, body), nil
	}
}

func encodeParse(args []word) ([]byte, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("instruction P takes a name, SQL and type OIDs, has %d words", len(args))
	}
	body := appendCString(nil, args[0].text)
	body = appendCString(body, args[1].text)
	body = binary.BigEndian.AppendUint16(body, uint16(len(args)-2))
	for _, a := range args[2:] {
		oid, err := strconv.ParseUint(a.text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("type OID: %w", err)
		}
		body = binary.BigEndian.AppendUint32(body, uint32(oid))
	}
	return message('P', body), nil
}

func encodeBind(args []word) ([]byte, error) {
	if len(args) < 2 {
		return nil, fmt.Errorf("instruction B takes a portal, a statement and arguments, has %d words", len(args))
	}
	values, results, err := splitFormats(args[2:])
	if err != nil {
		return nil, err
	}
	body := appendCString(nil, args[0].text)
	body = appendCString(body, args[1].text)
	body = appendArguments(body, values)
	body = binary.BigEndian.AppendUint16(body, uint16(len(results)))
	for _, f := range results {
		body = binary.BigEndian.AppendUint16(body, f)
	}
	return message('B', body), nil
}

func encodeFunctionCall(args []word) ([]byte, error) {
	if len(args) < 1 {
		return nil, fmt.Errorf("instruction F takes a function OID and arguments")
	}
	oid, err := strconv.ParseUint(args[0].text, 10, 32)
	if err != nil {
		return nil, fmt.Errorf("function OID: %w", err)
	}
	values, results, err := splitFormats(args[1:])
	if err != nil {
		return nil, err
	}
	// Unlike Bind, a call always has exactly one result format.
	result := uint16(0)
	if len(results) > 0 {
		result = results[0]
	}
	body := binary.BigEndian.AppendUint32(nil, uint32(oid))
	body = appendArguments(body, values)
	return message('F', binary.BigEndian.AppendUint16(body, result)), nil
}

// appendArguments writes format codes and values as Bind and FunctionCall have
// them. All text is said the short way, with no format codes at all.
func appendArguments(body []byte, values []word) []byte {
	anyBinary := false
	for _, v := range values {
		anyBinary = anyBinary || v.binary
	}
	if !anyBinary {
		body = binary.BigEndian.AppendUint16(body, 0)
	} else {
		body = binary.BigEndian.AppendUint16(body, uint16(len(values)))
		for _, v := range values {
			body = binary.BigEndian.AppendUint16(body, formatCode(v))
		}
	}
	body = binary.BigEndian.AppendUint16(body, uint16(len(values)))
	for _, v := range values {
		if v.isNull() {
			body = binary.BigEndian.AppendUint32(body, 0xffffffff)
			continue
		}
		body = binary.BigEndian.AppendUint32(body, uint32(len(v.text)))
		body = append(body, v.text...)
	}
	return body
}

func formatCode(v word) uint16 {
	if v.binary {
		return 1
	}
	return 0
}

// splitFormats parts the arguments from the result formats behind "->".
func splitFormats(args []word) (values []word, formats []uint16, err error) {
	for i, a := range args {
		if a.text != "->" || a.quoted {
			continue
		}
		for _, f := range args[i+1:] {
			code, err := strconv.ParseUint(f.text, 10, 16)
			if err != nil {
				return nil, nil, fmt.Errorf("result format: %w", err)
			}
			formats = append(formats, uint16(code))
		}
		return args[:i], formats, nil
	}
	return args, nil, nil
}

func encodeTarget(typ byte) func([]word) ([]byte, error) {
	return func(args []word) ([]byte, error) {
		if len(args) != 2 || (args[0].text != "S" && args[0].text != "P") {
			return nil, fmt.Errorf("%c takes S or P and a name", typ)
		}
		return message(typ, appendCString([]byte(args[0].text), args[1].text)), nil
	}
}

func encodeExecute(args []word) ([]byte, error) {
	if len(args) < 1 || len(args) > 2 {
		return nil, fmt.Errorf("instruction E takes a portal and a row limit, has %d words", len(args))
	}
	rows := uint64(0)
	if len(args) == 2 {
		var err error
		if rows, err = strconv.ParseUint(args[1].text, 10, 32); err != nil {
			return nil, fmt.Errorf("row limit: %w", err)
		}
	}
	body := appendCString(nil, args[0].text)
	return message('E', binary.BigEndian.AppendUint32(body, uint32(rows))), nil
}

func encodeCopyData(args []word) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("d takes 1 word, has %d", len(args))
	}
	return message('d', []byte(args[0].text)), nil
}

func encodeRaw(args []word) ([]byte, error) {
	if len(args) != 2 || len(args[0].text) != 1 {
		return nil, fmt.Errorf("raw takes a type byte and a body")
	}
	return message(args[0].text[0], []byte(args[1].text)), nil
}

func encodeBytes(args []word) ([]byte, error) {
	if len(args) != 1 {
		return nil, fmt.Errorf("bytes takes 1 word, has %d", len(args))
	}
	return []byte(args[0].text), nil
}

func appendCString(dst []byte, s string) []byte {
	return append(append(dst, s...), 0)
}
