//go:build race

package relaytest

// raceEnabled is whether the tests, and the relay that they build, have the
// race detector.
const raceEnabled = true
