// Package e2e tests Sidecast from outside, as those who use it meet it: the real binary, a real redis-server, PHP that
// publishes, Chromium that listens, a shell that runs the commands of the README. It has no code of its own, and its tests
// know of the relay only what a user can know.
//
//	go test ./relay/relaytest/e2e           what every change has to pass
//	go test ./relay/relaytest/e2e -long     the same for longer: more kills, more clients, more time
//	go test -race ./relay/relaytest/e2e     the same with a binary that has the race detector
package e2e
