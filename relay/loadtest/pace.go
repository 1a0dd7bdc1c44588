package main

import "time"

// A pace says how many messages are due when, on a clock of nanoseconds.
type pace struct {
	interval float64 // ns between steps
	perStep  float64 // messages; what is left of one counts for the next step
	began    int64
}

// paceOf returns the pace that the options ask for, from now on, and false if nothing is to be published.
func paceOf(o *options, now int64) (pace, bool) {
	const finest = float64(time.Millisecond) // more steps a second would only cost more
	switch {
	case o.burst > 0:
		return pace{interval: float64(o.every), perStep: float64(o.burst), began: now}, true
	case o.rate <= 0:
		return pace{}, false
	case float64(time.Second)/o.rate >= finest:
		return pace{interval: float64(time.Second) / o.rate, perStep: 1, began: now}, true
	}
	return pace{interval: finest, perStep: o.rate * finest / float64(time.Second), began: now}, true
}

// perSecond is the number of messages due in a second.
func (p pace) perSecond() float64 { return p.perStep * float64(time.Second) / p.interval }

// step returns when step n, from 0, is due, and with how many messages.
func (p pace) step(n int64) (due int64, messages int) {
	return p.began + int64(float64(n)*p.interval), int(p.perStep*float64(n+1)) - int(p.perStep*float64(n))
}
