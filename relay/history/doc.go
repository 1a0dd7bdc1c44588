// Package history keeps the recent messages of live channels, so that a client
// that returns with its cursor receives what it missed.
//
// Every relay numbers the messages of a channel since the last marker, and
// markers reach all relays in the same order. So a [Point] means the same on
// every relay, and a [Cursor] is how clients hold one.
//
// One goroutine at a time may use a [History] and its channels: the hub guards
// both with one lock.
package history
