package null

import (
	"encoding/binary"
)

// parameterTypes appends for each of $1..$n the type that Parse announced, or
// int4 where it left the choice to the server, as it suits pgbench's statements.
func parameterTypes(types []uint32, sql, announced []byte) []uint32 {
	for n := max(highestParameter(sql), len(announced)/4); len(types) < n; {
		oid := uint32(oidInt4)
		if at := 4 * len(types); at+4 <= len(announced) {
			if given := binary.BigEndian.Uint32(announced[at:]); given != 0 {
				oid = given
			}
		}
		types = append(types, oid)
	}
	return types
}

// maxParameters is what Int16 counts of the protocol can say.
const maxParameters = 1<<16 - 1

// highestParameter is the n of the highest $n in sql.
func highestParameter(sql []byte) int {
	highest := 0
	for i, ch := range sql {
		if ch != '$' {
			continue
		}
		n := 0
		for _, digit := range sql[i+1:] {
			if digit < '0' || digit > '9' || n > maxParameters {
				break
			}
			n = n*10 + int(digit-'0')
		}
		if n <= maxParameters {
			highest = max(highest, n)
		}
	}
	return highest
}

// appendParameterDescription appends message t: the type of each parameter.
func appendParameterDescription(dst []byte, types []uint32) []byte {
	dst, mark := begin(dst, 't')
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(types)))
	for _, oid := range types {
		dst = binary.BigEndian.AppendUint32(dst, oid)
	}
	return end(dst, mark)
}
