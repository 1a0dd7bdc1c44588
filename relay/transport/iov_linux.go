package transport

import "syscall"

// setIovlen sets the number of vectors. The type of the field differs between
// architectures.
func setIovlen(m *syscall.Msghdr, n int) {
	setLen(&m.Iovlen, n)
}

func setLen[T uint32 | uint64](p *T, n int) { *p = T(n) }
