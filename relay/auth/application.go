package auth

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// ApplicationConfig configures an [Application]. If a URL is empty, the relay
// does not send requests to it.
type ApplicationConfig struct {
	LoginURL   string // answers who the user of a browser is
	ChannelURL string // answers whether this user may receive this channel

	// BroadcastURL answers whether a client may subscribe to a private or
	// presence channel of the Pusher protocol.
	BroadcastURL string

	Timeout     time.Duration // for one request, from when it is sent
	Cache       time.Duration // how long an answer is cached at most
	Concurrency int           // requests at the same time, over all URLs; eight times as many may wait
	Grants      Grants
	Proxies     Proxies
	Stats       *stats.Stats
	Logger      *slog.Logger

	// Stale reports whether an answer about a user must not be used any more,
	// if the question was sent at that time. It is called concurrently. If it is
	// nil, no answer is stale.
	Stale func(user string, asked time.Time) bool
}

// An Application asks the web application who its users are and which channels
// they may receive. It forwards the credentials that the browser sent,
// including all cookies. The number of requests at the same time is bounded,
// whatever clients do. If requests have to wait, users and addresses take
// turns. An Application is safe for concurrent use.
type Application struct {
	pool     *requestPool
	logins   *authClient // nil if there is no URL for logins
	channels *authClient // nil if there is no URL for channels
	private  *authClient // nil if there is no URL for broadcasts, like the next
	presence *authClient
	proxies  Proxies
	stale    func(user string, asked time.Time) bool

	connections atomic.Uint64 // the highest number that a requester has
}

// NewApplication returns an Application that sends requests until
// [Application.Run] ends.
func NewApplication(c ApplicationConfig) *Application {
	a := &Application{pool: newRequestPool(c), proxies: c.Proxies, stale: c.Stale}
	if a.stale == nil {
		a.stale = func(string, time.Time) bool { return false }
	}
	if c.LoginURL != "" {
		a.logins = newAuthClient(a.pool, c.LoginURL, "SIDECAST_AUTH_URL", func(r reply) (answer, error) {
			return parseLogin(c.Grants, r)
		})
	}
	if c.ChannelURL != "" {
		a.channels = newAuthClient(a.pool, c.ChannelURL, "SIDECAST_CHANNEL_AUTH_URL", parseChannel)
	}
	if c.BroadcastURL != "" {
		a.private = newBroadcastClient(a.pool, c.BroadcastURL, parsePrivate)
		a.presence = newBroadcastClient(a.pool, c.BroadcastURL, parsePresence)
	}
	return a
}

// Run waits until ctx ends, cancels the requests in progress and returns when
// they have ended. Later questions are answered with [protocol.CodeUnavailable].
func (a *Application) Run(ctx context.Context) error { return a.pool.run(ctx) }

// Login asks the application who sent the request r. It returns [protocol.CodeOK]
// with an identity, or with nil if the application does not know the user;
// [protocol.CodeForbidden]; or [protocol.CodeUnavailable]. A request with neither a
// cookie nor an Authorization header is anonymous, and the application is not
// asked.
func (a *Application) Login(ctx context.Context, r *http.Request) (*access.Identity, protocol.Code) {
	if a.logins == nil || !hasCredentials(r) {
		return nil, protocol.CodeOK
	}
	stale := func(answer answer) bool {
		return answer.outcome == granted && a.stale(answer.identity.User, answer.asked)
	}
	switch answer := a.logins.ask(ctx, a.requester(r), a.credentials(r), question{header: a.headers(r)}, stale); answer.outcome {
	case granted:
		return answer.identity, protocol.CodeOK
	case anonymous:
		return nil, protocol.CodeOK
	case forbidden:
		return nil, protocol.CodeForbidden
	}
	return nil, protocol.CodeUnavailable
}

// ChannelAuthorizer returns a function that asks the application whether the
// client that sent r may receive a channel, and until when. It returns nil if
// there is no URL for channels, or if the client is anonymous and sent no
// credentials. The function keeps the credentials of r in memory for as long as
// it is referenced.
func (a *Application) ChannelAuthorizer(r *http.Request, id *access.Identity) func(
	ctx context.Context, user, channel string) (time.Time, protocol.Code) {
	if a.channels == nil || id == nil && !hasCredentials(r) {
		return nil
	}
	header, credentials, anonymous := a.headers(r), a.credentials(r), a.requester(r)
	return func(ctx context.Context, user, channel string) (time.Time, protocol.Code) {
		asked, who := header.Clone(), anonymous
		asked.Set("X-Sidecast-Channel", encodeHeader(channel))
		if user != "" {
			who = requester{user: user}
			asked.Set("X-Sidecast-User", encodeHeader(user))
		}
		key := a.pool.cacheKey([]string{string(credentials[:]), user, channel})
		stale := func(answer answer) bool {
			return user != "" && answer.outcome != unavailable && a.stale(user, answer.asked)
		}
		switch answer := a.channels.ask(ctx, who, key, question{header: asked}, stale); answer.outcome {
		case granted:
			return answer.until, protocol.CodeOK
		case forbidden:
			return time.Time{}, protocol.CodeForbidden
		}
		return time.Time{}, protocol.CodeUnavailable
	}
}

// forwardedHeaders are the only headers of the browser that the relay sends to
// the application with each question.
var forwardedHeaders = []string{"Cookie", "Authorization", "Origin", "User-Agent"}

// headers returns the headers of a request to the application. A client without
// credentials must get 401 and not a redirect to a login page, so the request
// says that it wants JSON and was sent by a script: web frameworks look at
// both.
func (a *Application) headers(r *http.Request) http.Header {
	h := http.Header{
		"Accept":           {"application/json"},
		"X-Requested-With": {"XMLHttpRequest"},
		"User-Agent":       {""}, // keeps net/http from sending its default
	}
	copyHeaders(h, r, forwardedHeaders)
	if address := a.proxies.Client(r); address.IsValid() {
		h.Set("X-Forwarded-For", address.String())
	}
	return h
}

// copyHeaders copies the headers with these names from r to h.
func copyHeaders(h http.Header, r *http.Request, names []string) {
	for _, name := range names {
		if values := r.Header.Values(name); len(values) > 0 {
			h[name] = slices.Clone(values)
		}
	}
}

// credentials returns the cache key for everything in r on which the answer of
// an application may depend: the credentials, the page's origin and the
// client's address.
func (a *Application) credentials(r *http.Request) cacheKey {
	return a.pool.cacheKey(r.Header.Values("Cookie"), r.Header.Values("Authorization"), r.Header.Values("Origin"),
		[]string{a.proxies.Client(r).String()})
}

// requester returns the requester of a client whose user is not known. A
// connection that logs in and then asks about channels is two requesters, one
// after the other.
func (a *Application) requester(r *http.Request) requester {
	if address := a.proxies.Limited(r); address.IsValid() {
		return requester{address: address}
	}
	return requester{connection: a.connections.Add(1)}
}

func hasCredentials(r *http.Request) bool {
	return r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != ""
}

// encodeHeader percent-encodes the percent sign and all bytes that are not
// printable ASCII. It encodes spaces too, because HTTP removes them at the ends
// of a header's value: the application must not be asked about "chat" instead
// of " chat".
func encodeHeader(name string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for _, c := range []byte(name) {
		if c > ' ' && c < 0x7f && c != '%' {
			b.WriteByte(c)
		} else {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		}
	}
	return b.String()
}
