// Package rolling tests what operators do to Sidecast while people are connected: it replaces relays behind a load balancer
// one after the other, and takes Redis away from relays that are probed. It has no code of its own.
//
//	go test ./relay/relaytest/rolling
package rolling
