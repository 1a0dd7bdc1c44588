package relaytest

import (
	"flag"
	"testing"
	"time"
)

var clocks = flag.Bool("clocks", false, "build and try the binary whose clock is wrong, which compiles the standard library")

// TestShifted: the process lives at another time, by its own log.
func TestShifted(t *testing.T) {
	if !*clocks {
		t.Skip("-clocks is not set")
	}
	for _, offset := range []time.Duration{-time.Minute, time.Minute} {
		relay := StartShifted(t, offset, map[string]string{"SIDECAST_LOG_FORMAT": "json"})
		said, err := time.Parse(time.RFC3339Nano, LogField(relay.AwaitMessage("listening"), "time"))
		if err != nil {
			t.Fatal(err)
		}
		if wrong := time.Until(said) - offset; wrong.Abs() > 10*time.Second {
			t.Errorf("a clock that should be wrong by %v says %v", offset, said)
		}
		relay.AwaitReady()
	}
}
