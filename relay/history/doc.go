// Package history keeps the recent messages of live channels, so that a client
// that resumes with its cursor receives the messages that it missed.
//
// Every relay counts the messages of a channel since the last marker, and
// markers reach all relays in the same order. So a [Point] means the same on
// every relay, and a [Cursor] is the form in which clients hold a point.
//
// [History] holds the messages of all channels in one ring of memory and drops
// the oldest ones first. For each [Channel] it knows the newest point, and a
// floor: the newest message that is not held any more. A message that is held
// is never changed.
//
// A History and its channels are not safe for concurrent use, except for
// [History.Hash]: the hub guards all of them with one lock. [Cursor] values may
// be used freely.
package history
