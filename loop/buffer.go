package loop

// buffers keeps a loop's spare buffers by size class. A connection borrows one
// while it has bytes to keep and gives it back as soon as it has none, so idle
// connections hold no memory and a burst leaves a bounded stock behind.
type buffers struct {
	spare [len(bufferClasses)][][]byte
}

// bufferClasses are the capacities in bytes. The last is the most that one
// connection can be made to keep in one piece.
var bufferClasses = [...]int{512, 4 << 10, 16 << 10, keepMax, 2 * keepMax}

// maxSpare bounds the stock of each class.
const maxSpare = 32

// get returns an empty buffer with room for n bytes.
func (b *buffers) get(n int) []byte {
	for class, size := range bufferClasses {
		if n > size {
			continue
		}
		if stock := b.spare[class]; len(stock) > 0 {
			last := len(stock) - 1
			buf := stock[last]
			stock[last] = nil
			b.spare[class] = stock[:last]
			return buf
		}
		return make([]byte, 0, size)
	}
	return make([]byte, 0, n)
}

// put takes back a buffer from get. One that was too large for any class goes
// to the garbage collector.
func (b *buffers) put(buf []byte) {
	for class, size := range bufferClasses {
		if cap(buf) == size {
			if len(b.spare[class]) < maxSpare {
				b.spare[class] = append(b.spare[class], buf[:0])
			}
			return
		}
	}
}

// hold returns a buffer with the bytes of b, of the smallest class they fit in:
// buf, which b may lie inside, or another one in its place. Without bytes there
// is no buffer.
func (b *buffers) hold(buf, bytes []byte) []byte {
	if len(bytes) > 0 && cap(buf) == classOf(len(bytes)) {
		return buf[:copy(buf[:cap(buf)], bytes)]
	}
	var held []byte
	if len(bytes) > 0 {
		held = append(b.get(len(bytes)), bytes...)
	}
	b.put(buf)
	return held
}

// classOf is the capacity of the buffer for n bytes.
func classOf(n int) int {
	for _, size := range bufferClasses {
		if n <= size {
			return size
		}
	}
	return n
}

// grow returns a buffer that holds buf's bytes and has room for n more; buf is
// given back if it had to be left.
func (b *buffers) grow(buf []byte, n int) []byte {
	if cap(buf)-len(buf) >= n {
		return buf
	}
	need := len(buf) + n
	if need > bufferClasses[len(bufferClasses)-1] {
		need = max(need, 2*cap(buf)) // beyond the classes, copied ever more rarely
	}
	bigger := append(b.get(need), buf...)
	b.put(buf)
	return bigger
}
