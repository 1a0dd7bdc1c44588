package main

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	tests := []struct {
		name     string
		options  options
		interval time.Duration
		second   int // messages due in the first second
	}{
		{"one a second", options{rate: 1}, time.Second, 1},
		{"as fast as the finest step", options{rate: 1000}, time.Millisecond, 1000},
		{"faster than the finest step", options{rate: 12_345}, time.Millisecond, 12_345},
		{"once in ten seconds", options{rate: 0.1}, 10 * time.Second, 1},
		{"bursts", options{rate: 7, burst: 32, every: 100 * time.Millisecond}, 100 * time.Millisecond, 320},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p, ok := paceOf(&test.options, 5)
			if !ok {
				t.Fatal("nothing is to be published")
			}
			if due, _ := p.step(1); due != 5+int64(test.interval) {
				t.Errorf("the second step is due at %d", due)
			}
			sum := 0
			for n := int64(0); ; n++ {
				due, messages := p.step(n)
				if due >= 5+int64(time.Second) {
					break
				}
				sum += messages
			}
			if sum != test.second {
				t.Errorf("%d messages in the first second, want %d", sum, test.second)
			}
		})
	}
	if _, ok := paceOf(&options{every: time.Second}, 0); ok {
		t.Error("without rate and burst something is to be published")
	}
}
