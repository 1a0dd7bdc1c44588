// Package events tells the application what happens to its clients, by a Redis
// stream and by webhooks.
//
// A [Writer] adds entries to the stream. It never delays a message: a
// report that finds the queue full is dropped and counted. [Webhooks] reads the
// stream with a consumer group that all relays share, and posts its entries to
// the application. [Unheard] finds the messages to which no client of any relay
// is subscribed.
//
// README.md describes the stream and the webhooks to the application's
// developers.
package events
