//go:build race

package relaytest

// raceEnabled says whether the tests run with the race detector, and so the relay that they build.
const raceEnabled = true
