package main

import (
	"math"
	"sync/atomic"
	"time"
)

// A clock counts nanoseconds from the beginning of the run; it never goes back.
type clock struct{ began time.Time }

func newClock() clock { return clock{began: time.Now()} }

func (c clock) now() int64 { return int64(time.Since(c.began)) }

// A window is the time of measuring: what is sent within it is measured. It is closed at first.
type window struct{ from, to atomic.Int64 }

// open begins the window, and close ends it.
func (w *window) open(now int64) {
	w.to.Store(math.MaxInt64)
	w.from.Store(now)
}

func (w *window) close(now int64) { w.to.Store(now) }

// holds reports whether a message sent then is measured.
func (w *window) holds(sent int64) bool { return sent < w.to.Load() && sent >= w.from.Load() }
