package resp

// Results that [BulkLen], [Bulk] and [Text] return instead of an index.
const (
	Short = -1 // more bytes are needed
	Bad   = -2 // the bytes are not RESP, or exceed a bound
)

// BulkLen parses "$<digits>\r\n" at b[i:]. It returns the number and the index
// at which the string begins, or Short or Bad instead of the index.
func BulkLen(b []byte, i int) (size, start int) {
	if i >= len(b) {
		return 0, Short
	}
	if b[i] != '$' {
		return 0, Bad
	}
	first := i + 1
	for i = first; i < len(b); i++ {
		c := b[i] - '0'
		if c > 9 {
			break
		}
		if i-first >= maxDigits {
			return 0, Bad
		}
		size = size*10 + int(c)
	}
	switch {
	case i == len(b):
		return 0, Short
	case i == first, b[i] != '\r', size > MaxBulk:
		return 0, Bad
	case i+1 == len(b):
		return 0, Short
	case b[i+1] != '\n':
		return 0, Bad
	}
	return size, i + 2
}

// Bulk reads a whole string at b[i:]. It returns the string, which is a part of
// b, and the index after it, or Short or Bad instead of the index. A string of
// more than limit bytes is Bad.
func Bulk(b []byte, i, limit int) (text []byte, end int) {
	size, start := BulkLen(b, i)
	if start < 0 {
		return nil, start
	}
	if size > limit {
		return nil, Bad
	}
	return Text(b, size, start)
}

// Text returns the string of size bytes at b[start:], as [BulkLen] found it,
// and the index after its CRLF, or Short or Bad instead of the index.
func Text(b []byte, size, start int) (text []byte, end int) {
	end = start + size + 2
	if len(b) < end {
		return nil, Short
	}
	if b[end-2] != '\r' || b[end-1] != '\n' {
		return nil, Bad
	}
	return b[start : end-2], end
}
