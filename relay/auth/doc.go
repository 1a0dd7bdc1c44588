// Package auth decides which web pages may connect and who each client is.
//
// [Origins] checks the page that opens the WebSocket, by its Origin and Host
// headers. [Proxies] finds a client's address if the relay runs behind a
// reverse proxy. A [Gate] identifies the client. It uses one method and never
// combines the grants of two:
//
//  1. If the client presents a token, [Tokens] verifies it, and the token alone decides.
//  2. Otherwise the relay asks the application, with the browser's own credentials ([Application.Login]).
//  3. Otherwise the client is anonymous.
//
// If no grant opens a channel, the relay can ask the application about that one
// channel ([Application.ChannelAuthorizer]).
//
// With Laravel's driver redis, the application decides who may subscribe to the
// private and presence channels of the Pusher protocol, but cannot sign its
// decision. The relay forwards the requests of these clients
// ([Application.AuthorizeBroadcast]), and relay/pusher signs.
//
// An [Application] gets a bounded number of requests at a time. Users, and the
// addresses of clients whose user is not known, take turns, and each can use
// only a quarter of the requests and of the queue. So a client with many
// questions delays only its own user or address.
//
// A rejection has one of three reasons, and each has its own close code: the
// client has to log in (4401), the client is not allowed to connect or to use
// the channel (4403), or the relay cannot find out now (1013). Every failure of
// the relay or of the application has the third reason. A failure never grants
// anything, and it is never reported as a decision about the user.
//
// The relay keeps tokens, cookies and passwords in memory no longer than the
// connection that sent them, and it never writes them to a log line or into an
// error. Cached answers are stored under a keyed hash of the credentials, with
// a new key in each process.
package auth
