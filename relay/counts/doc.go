// Package counts knows how many subscriptions each channel has, over all relays.
// It tells the clients of the Pusher protocol, and the application over the HTTP
// API. See the section "Counts" in the README of relay/pusher.
//
// Each relay writes its own numbers to Redis, and reads those of the others:
//
//	changes.go  reports of the hub
//	inbox.go    reports of the link
//	worker.go   one pass of the work, about once a second
//	lease.go    which relays there are
//	write.go    this relay's numbers, to Redis
//	news.go     names of changed channels, to the other relays
//	read.go     the other relays' numbers, from Redis
//	tell.go     the sums, to clients
//	query.go    the sums, to the application
package counts
