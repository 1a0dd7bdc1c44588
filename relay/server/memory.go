package server

import (
	"math"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
)

// garbagePercent is the value of GOGC: the garbage collector runs when the
// garbage reaches this percentage of the memory in use. The default would keep
// the garbage that clients create while they connect, because the relay creates
// little garbage after that.
const garbagePercent = 50

// TuneMemory configures the garbage collector for many idle clients, and makes
// it run more often before the memory limit of a container is reached. If GOGC
// or GOMEMLIMIT is set, its value is kept. TuneMemory returns the memory limit
// that it set, in bytes, or 0.
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
