//go:build !linux

package main

import (
	"errors"
	"time"
)

// canMeasure reports whether the CPU and memory of processes can be told.
const canMeasure = false

// A usage is what a process has used.
type usage struct {
	cpu time.Duration
	rss int64
}

// usageOf cannot tell here.
func usageOf(int) (usage, error) { return usage{}, errors.ErrUnsupported }
