//go:build unix

package server

import "syscall"

// fileLimit is how many file descriptors the process may have open, or 0 where there is no telling. The Go runtime has
// raised the soft limit to the hard one.
func fileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30))
}
