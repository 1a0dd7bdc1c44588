package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"time"
)

// canMeasure reports whether the CPU and memory of processes can be told.
const canMeasure = true

// ticksPerSecond is USER_HZ, which Linux has fixed for all programs.
const ticksPerSecond = 100

// A usage is what a process has used.
type usage struct {
	cpu time.Duration // user and system time, in steps of 10 ms
	rss int64         // resident memory, in bytes
}

// usageOf returns what the process has used until now; of this one if pid is 0.
func usageOf(pid int) (usage, error) {
	name := "self"
	if pid != 0 {
		name = strconv.Itoa(pid)
	}
	stat, err := os.ReadFile("/proc/" + name + "/stat")
	if err != nil {
		return usage{}, fmt.Errorf("measuring a process: %w", err)
	}
	// The name, in parentheses, may hold anything; state is the third field and the first behind it.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system, resident = 14 - 3, 15 - 3, 24 - 3
	if len(fields) <= resident {
		return usage{}, fmt.Errorf("measuring a process: %s", stat)
	}
	var numbers [3]int64
	for i, field := range []int{user, system, resident} {
		if numbers[i], err = strconv.ParseInt(string(fields[field]), 10, 64); err != nil {
			return usage{}, fmt.Errorf("measuring a process: %w", err)
		}
	}
	return usage{
		cpu: time.Duration(numbers[0]+numbers[1]) * time.Second / ticksPerSecond,
		rss: numbers[2] * int64(os.Getpagesize()),
	}, nil
}
