//go:build unix

package main

import "golang.org/x/sys/unix"

// fileLimit returns how many files this process may have open, and how many it could be allowed without being root.
// Go has raised the first to the second already where the system let it.
func fileLimit() (now, hard uint64) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 1 << 20, 1 << 20
	}
	return uint64(limit.Cur), uint64(limit.Max)
}
