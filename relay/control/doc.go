// Package control lets an application act on the sessions of its users through
// Redis: it ends logins, disconnects clients and changes their subscriptions.
//
// A message can be lost, so an application that must end a login stores that in
// the sorted set `sidecast:revoked`. The relay reads all of it before the first
// message of each connection to Redis is delivered, and its newest entries
// again at each control message and every 30 seconds. Control messages, which
// the application publishes to `sidecast:control`, make this immediate, and are
// also for what need not be reliable. The package's README describes both.
//
// The [Control] parses what the application wrote and calls the core, which
// knows the sessions. It deletes old entries, too.
package control
