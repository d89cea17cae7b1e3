package console

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"time"
)

// oid is a type of PostgreSQL, pg_type.oid.
type oid uint32

// The types of the console's columns, those of PgBouncer.
const (
	text    oid = 25
	integer oid = 23
	bigint  oid = 20
	numeric oid = 1700
)

// size is pg_type.typlen.
func (o oid) size() int16 {
	switch o {
	case integer:
		return 4
	case bigint:
		return 8
	default:
		return -1
	}
}

// column is one column of a result.
type column struct {
	name string
	typ  oid
}

// columns makes columns of one type.
func columns(typ oid, names ...string) []column {
	list := make([]column, len(names))
	for i, name := range names {
		list[i] = column{name, typ}
	}
	return list
}

// row holds a value for each column: string, bool, an integer, time.Time, or nil
// for NULL.
type row []any

// appendRowDescription appends a 'T' message; binary says which columns will come
// in binary format.
func appendRowDescription(dst []byte, cols []column, binaries formats) []byte {
	return message(dst, 'T', func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(len(cols)))
		for i, c := range cols {
			b = append(append(b, c.name...), 0)
			b = append(b, 0, 0, 0, 0, 0, 0) // no table, no column of one
			b = binary.BigEndian.AppendUint32(b, uint32(c.typ))
			b = binary.BigEndian.AppendUint16(b, uint16(c.typ.size()))
			b = append(b, 0xff, 0xff, 0xff, 0xff) // no type modifier
			b = binary.BigEndian.AppendUint16(b, binaries.code(i))
		}
		return b
	})
}

// appendDataRow appends a 'D' message.
func appendDataRow(dst []byte, cols []column, r row, binaries formats) []byte {
	return message(dst, 'D', func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, uint16(len(cols)))
		for i, c := range cols {
			if r[i] == nil {
				b = append(b, 0xff, 0xff, 0xff, 0xff)
				continue
			}
			at := len(b)
			b = append(b, 0, 0, 0, 0)
			b = appendValue(b, c.typ, r[i], binaries.code(i) == 1)
			binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at-4))
		}
		return b
	})
}

// appendValue appends a value as its type is written. Text is the same in both
// formats.
func appendValue(b []byte, typ oid, v any, inBinary bool) []byte {
	if typ == text {
		return append(b, asText(v)...)
	}
	n := asInteger(v)
	if typ == integer {
		n = max(min(n, math.MaxInt32), math.MinInt32)
	}
	switch {
	case !inBinary:
		return strconv.AppendInt(b, n, 10)
	case typ == integer:
		return binary.BigEndian.AppendUint32(b, uint32(n))
	case typ == bigint:
		return binary.BigEndian.AppendUint64(b, uint64(n))
	default:
		return appendNumeric(b, n)
	}
}

// appendNumeric appends the binary format of numeric: the number of digits to base
// 10000, the weight of the first, sign, scale, digits (numeric_send in PostgreSQL's
// numeric.c). What the console counts is never negative.
func appendNumeric(b []byte, n int64) []byte {
	var digits []uint16
	for n = max(n, 0); n > 0; n /= 10000 {
		digits = append(digits, uint16(n%10000))
	}
	b = binary.BigEndian.AppendUint16(b, uint16(len(digits)))
	b = binary.BigEndian.AppendUint16(b, uint16(max(len(digits)-1, 0)))
	b = append(b, 0, 0, 0, 0)
	for i := len(digits) - 1; i >= 0; i-- {
		b = binary.BigEndian.AppendUint16(b, digits[i])
	}
	return b
}

func asText(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case time.Time:
		if v.IsZero() {
			return ""
		}
		return v.Format("2006-01-02 15:04:05 MST")
	default:
		return fmt.Sprint(v)
	}
}

func asInteger(v any) int64 {
	switch v := v.(type) {
	case int:
		return int64(v)
	case int64:
		return v
	case uint32:
		return int64(v)
	case uint64:
		return int64(min(v, math.MaxInt64))
	case time.Duration:
		return v.Microseconds()
	case bool:
		if v {
			return 1
		}
		return 0
	default:
		panic(fmt.Sprintf("BUG: %T in a column of numbers", v))
	}
}

// message appends a message of this type around what body appends.
func message(dst []byte, typ byte, body func([]byte) []byte) []byte {
	start := len(dst)
	dst = body(append(dst, typ, 0, 0, 0, 0))
	binary.BigEndian.PutUint32(dst[start+1:], uint32(len(dst)-start-1))
	return dst
}

// appendNotice appends a NoticeResponse.
func appendNotice(dst []byte, text, detail string) []byte {
	return message(dst, 'N', func(b []byte) []byte {
		b = append(b, "SNOTICE\x00VNOTICE\x00C00000\x00M"...)
		b = append(append(b, text...), 0)
		if detail != "" {
			b = append(append(append(b, 'D'), detail...), 0)
		}
		return append(b, 0)
	})
}

// appendTag appends a CommandComplete.
func appendTag(dst []byte, tag string) []byte {
	return message(dst, 'C', func(b []byte) []byte { return append(append(b, tag...), 0) })
}
