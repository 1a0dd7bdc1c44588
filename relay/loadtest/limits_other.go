//go:build !unix

package main

// fileLimit returns a number that nobody reaches: there is no such limit here.
func fileLimit() (now, hard uint64) { return 1 << 20, 1 << 20 }
