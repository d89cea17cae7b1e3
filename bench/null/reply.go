package null

import (
	"encoding/binary"
	"strconv"
)

// Type identifiers of PostgreSQL's catalogue (pg_type.dat).
const (
	oidBool = 16
	oidInt8 = 20
	oidInt4 = 23
	oidText = 25
)

// Result formats, as in Bind and RowDescription.
const (
	formatText   = 0
	formatBinary = 1
)

// effect is what a statement does to the session beside its result.
type effect uint8

const (
	effectNone effect = iota
	effectBegin
	effectEnd // COMMIT and ROLLBACK
	effectSet
	effectReset // RESET ALL
	effectDiscard
	effectDeallocate
	effectCopyIn
	effectCopyOut
	effectFail
)

// reply answers one statement: encoded once, sent often. It is not changed
// after it was built.
type reply struct {
	effect effect
	tag    string    // of CommandComplete; "" for an empty query
	name   string    // effectSet: the parameter; effectFail: the SQLSTATE
	value  string    // effectSet: its value
	fields []field   // nil: no rows
	rows   int       // how many times the row of fields comes
	cache  [2][]byte // DataRow messages by format
	desc   [2][]byte // RowDescription by format
}

// field is one column together with the value that each row has there.
type field struct {
	name string
	oid  uint32
	text string
	null bool
}

// encode fills the caches; every reply passes through it once.
func (r *reply) encode() *reply {
	if r.effect == effectCopyOut {
		data := appendCopyData(nil, r)
		r.cache = [2][]byte{data, data}
		return r
	}
	if r.fields == nil {
		return r
	}
	for format := range r.cache {
		r.desc[format] = appendRowDescription(nil, r.fields, format)
		row := appendDataRow(nil, r.fields, format)
		rows := make([]byte, 0, len(row)*r.rows)
		for range r.rows {
			rows = append(rows, row...)
		}
		r.cache[format] = rows
	}
	return r
}

// begin starts a message; end, given its mark, writes the length.
func begin(dst []byte, kind byte) (out []byte, mark int) {
	return append(dst, kind, 0, 0, 0, 0), len(dst) + 1
}

// end writes the length, which counts itself but not the type byte.
func end(dst []byte, mark int) []byte {
	binary.BigEndian.PutUint32(dst[mark:], uint32(len(dst)-mark))
	return dst
}

// appendRowDescription appends message T. The columns belong to no table.
func appendRowDescription(dst []byte, fields []field, format int) []byte {
	dst, mark := begin(dst, 'T')
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(fields)))
	for _, f := range fields {
		dst = append(dst, f.name...)
		dst = append(dst, 0)
		dst = binary.BigEndian.AppendUint32(dst, 0) // of no table
		dst = binary.BigEndian.AppendUint16(dst, 0)
		dst = binary.BigEndian.AppendUint32(dst, f.oid)
		dst = binary.BigEndian.AppendUint16(dst, uint16(typeSize(f.oid)))
		dst = binary.BigEndian.AppendUint32(dst, 0xffffffff) // no type modifier
		dst = binary.BigEndian.AppendUint16(dst, uint16(format))
	}
	return end(dst, mark)
}

// typeSize is pg_type.typlen; -1 stands for a variable length.
func typeSize(oid uint32) int16 {
	switch oid {
	case oidBool:
		return 1
	case oidInt4:
		return 4
	case oidInt8:
		return 8
	}
	return -1
}

// appendDataRow appends message D; length -1 stands for NULL.
func appendDataRow(dst []byte, fields []field, format int) []byte {
	dst, mark := begin(dst, 'D')
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(fields)))
	for _, f := range fields {
		if f.null {
			dst = binary.BigEndian.AppendUint32(dst, 0xffffffff)
			continue
		}
		at := len(dst)
		dst = binary.BigEndian.AppendUint32(dst, 0)
		dst = f.appendValue(dst, format)
		binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return end(dst, mark)
}

// appendValue appends the value in the format that Bind asked for.
func (f field) appendValue(dst []byte, format int) []byte {
	if format == formatText {
		return append(dst, f.text...)
	}
	// The texts of number fields are written by this package: they parse.
	n, _ := strconv.ParseInt(f.text, 10, 64)
	switch f.oid {
	case oidBool:
		if f.text == "t" {
			return append(dst, 1)
		}
		return append(dst, 0)
	case oidInt4:
		return binary.BigEndian.AppendUint32(dst, uint32(n))
	case oidInt8:
		return binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, f.text...)
}

// appendCopyData appends a whole COPY TO STDOUT: CopyOutResponse, one CopyData
// a row, CopyDone.
func appendCopyData(dst []byte, r *reply) []byte {
	dst = append(dst, 'H', 0, 0, 0, 9, 0, 0, 1, 0, 0)
	for range r.rows {
		var mark int
		dst, mark = begin(dst, 'd')
		dst = append(dst, r.fields[0].text...)
		dst = append(dst, '\n')
		dst = end(dst, mark)
	}
	return append(dst, 'c', 0, 0, 0, 4)
}

// appendCommandComplete appends message C, whose tag drivers read for the count.
func appendCommandComplete(dst []byte, tag string) []byte {
	dst, mark := begin(dst, 'C')
	dst = append(dst, tag...)
	dst = append(dst, 0)
	return end(dst, mark)
}
