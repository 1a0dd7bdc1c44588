// Package pusher serves the HTTP interfaces of the Pusher protocol to the
// application.
//
//	api.go      the signed HTTP API: its configuration, its paths and its answers
//	refusal.go  what refused requests are answered with
//	request.go  the checks that a request passes before it is read as JSON
//	events.go   publishing events
//	queries.go  questions about channels, and ending a user's connections
package pusher
