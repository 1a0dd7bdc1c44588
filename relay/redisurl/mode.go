package redisurl

import (
	"errors"
	"slices"
	"strconv"
)

// A Mode is the kind of servers that a URL leads to.
type Mode uint8

// The modes.
const (
	Standalone Mode = iota // one Redis, or a server that behaves like one
	Sentinel               // Sentinels, which know the master
	Cluster                // nodes of a Redis Cluster
)

var modes = []string{"standalone", "sentinel", "cluster"}

// String returns standalone, sentinel or cluster.
func (m Mode) String() string {
	if !m.Valid() {
		return "mode " + strconv.Itoa(int(m))
	}
	return modes[m]
}

// Valid reports whether m is one of the modes.
func (m Mode) Valid() bool { return int(m) < len(modes) }

// ParseMode reads the text that String returns.
func ParseMode(name string) (Mode, error) {
	if i := slices.Index(modes, name); i >= 0 {
		return Mode(i), nil
	}
	return 0, errors.New("the mode is not standalone, sentinel or cluster")
}

// defaultPort returns the port to connect to if a URL has no port.
func (m Mode) defaultPort() string {
	if m == Sentinel {
		return "26379"
	}
	return "6379"
}
