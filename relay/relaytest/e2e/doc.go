// Package e2e tests Sidecast from outside, as its users see it: with the real
// binary, a real redis-server, PHP that publishes, Chromium that subscribes,
// HAProxy that balances, and a shell that runs the commands of the README. Its
// tests use only what a user can use. It has no code besides its tests.
//
//	go test ./relay/relaytest/e2e           the tests that every change must pass
//	go test ./relay/relaytest/e2e -long     the same with more kills, more clients and more time
//	go test -race ./relay/relaytest/e2e     the same with the race detector in the relay too
package e2e
