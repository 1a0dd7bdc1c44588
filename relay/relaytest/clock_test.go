package relaytest

import (
	"flag"
	"testing"
	"time"
)

var clocks = flag.Bool("clocks", false, "test with relays whose clocks are wrong, which compiles the standard library")

// TestShifted: the times in the log of the process are wrong by the offset.
func TestShifted(t *testing.T) {
	if !*clocks {
		t.Skip("-clocks is not set")
	}
	for _, offset := range []time.Duration{-time.Minute, time.Minute} {
		relay := StartShifted(t, offset, map[string]string{"SIDECAST_LOG_FORMAT": "json"})
		logged, err := time.Parse(time.RFC3339Nano, LogField(relay.AwaitMessage("listening"), "time"))
		if err != nil {
			t.Fatal(err)
		}
		if wrong := time.Until(logged) - offset; wrong.Abs() > 10*time.Second {
			t.Errorf("a clock that should be wrong by %v shows %v", offset, logged)
		}
		relay.AwaitReady()
	}
}
