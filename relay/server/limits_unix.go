//go:build unix

package server

import "syscall"

// fileLimit returns how many file descriptors the process may open, or 0 if the
// limit is not known. The Go runtime has raised the soft limit to the hard
// limit.
func fileLimit() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0
	}
	return int(min(uint64(limit.Cur), 1<<30))
}
