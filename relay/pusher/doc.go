// Package pusher serves the HTTP requests of the Pusher protocol. The protocol
// itself is in relay/protocol, and its clients connect to relay/ws.
//
// An API serves the application's signed requests. A [BroadcastAuth] stands in
// for an application that cannot sign, such as Laravel with
// BROADCAST_CONNECTION=redis: it asks the application whether a client may
// subscribe to a channel, and signs its consent.
//
//	api.go      the signed HTTP API: its configuration, its paths and its answers
//	refusal.go  the answers to refused requests
//	request.go  the checks that a request passes before it is read as JSON
//	events.go   publishing events
//	queries.go  questions about channels, and ending a user's connections
//
//	broadcast.go         the requests for signatures, and what is signed
//	broadcastrequest.go  what clients send, and how answers are written
//	broadcastrefusal.go  why a request gets no signature
package pusher
