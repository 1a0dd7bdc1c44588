package server

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// maxConnections is the most that is taken by default: beyond it a second relay serves better.
const maxConnections = 50_000

// DefaultConnections returns how many clients this process can serve: 80 % of its file descriptors, 50,000 at most. files
// is the limit on descriptors, 0 where there is none.
func DefaultConnections() (connections, files int) {
	files = fileLimit()
	if files == 0 {
		return maxConnections, 0
	}
	return max(min(files/5*4, maxConnections), 1), files
}

// LimitMemory makes the garbage collector work harder before the container's limit is reached, unless GOMEMLIMIT says
// otherwise. It returns the limit that it set, in bytes, or 0.
func LimitMemory() int64 {
	if os.Getenv("GOMEMLIMIT") != "" {
		return 0
	}
	for _, file := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		limit, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		if err != nil || limit <= 0 || limit > math.MaxInt64/2 {
			return 0
		}
		limit = limit / 10 * 9
		debug.SetMemoryLimit(limit)
		return limit
	}
	return 0
}
