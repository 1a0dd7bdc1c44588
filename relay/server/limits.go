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

// garbagePercent is how much garbage may be there for each byte in use before it is collected. The relay makes little of
// it once its clients are connected, and what they leave behind while they connect would otherwise be kept for good.
const garbagePercent = 50

// TuneMemory sets the collector for many idle clients, and makes it work harder before a container's limit is reached.
// What GOGC and GOMEMLIMIT say goes before. It returns the limit that it set, in bytes, or 0.
func TuneMemory() int64 {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(garbagePercent)
	}
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
