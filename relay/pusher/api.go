package pusher

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

const (
	// maxRequests bounds the requests that are carried out at a time. The bodies
	// of others may be in memory, but all together have no more bytes than so
	// many of the largest ones.
	maxRequests = 32
	// timeout bounds each wait of a request, and how long Redis may take for all
	// of it.
	timeout = 5 * time.Second
)

// Counts knows how many subscriptions channels have, over all relays. A number
// may be some seconds old.
type Counts interface {
	// Channels returns the channels that have subscriptions and whose names
	// begin with prefix, and how many each has.
	Channels(ctx context.Context, prefix string) (map[string]int, error)
	Subscriptions(ctx context.Context, channel string) (int, error)
}

// APIConfig configures [NewAPI]. App, Relayed, Publish, MaxPayload, Stats and
// Logger are required. A request that needs another function is answered with
// 501 if it is nil.
type APIConfig struct {
	App      *access.App
	BasePath string // before /apps/

	// Relayed returns [protocol.CodeOK] for a channel that the relay delivers,
	// [protocol.CodeBadChannel] for a name that no channel can have, and
	// another code for a channel that nobody can receive.
	Relayed func(channel string) protocol.Code
	// Publish returns nil after Redis has accepted the message. The text of its
	// error contains no secret; like those of the other functions, it is logged,
	// and not sent to the caller.
	Publish    func(ctx context.Context, channel string, payload []byte) error
	MaxPayload int // bytes

	Counts  Counts
	Members func(ctx context.Context, channel string) (users []string, err error)
	// Terminate ends the logins of a user, and closes its connections to all
	// relays.
	Terminate   func(ctx context.Context, user string) error
	Connections func(ctx context.Context) (int, error) // to all relays

	Remote func(*http.Request) string // the address in the log; nil: that of the connection
	Now    func() time.Time           // nil: the system's clock
	Stats  *stats.Stats
	Logger *slog.Logger
}

// An api is the HTTP API of one application.
type api struct {
	APIConfig
	places chan struct{}                         // one for each request that is carried out
	bodies *semaphore.Weighted                   // the bytes of the bodies in memory
	logs   [len(stats.APIResults)]rate.Sometimes // of refused requests, so that they cannot fill the disk
}

// NewAPI returns the handler of the paths below /apps/: the HTTP API of
// https://pusher.com/docs/channels/library_auth_reference/rest-api/. An
// application signs its requests with the secret. A request that a web page
// sends is refused, whatever its signature, because no page may have the secret.
func NewAPI(c APIConfig) http.Handler {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Remote == nil {
		c.Remote = func(r *http.Request) string { return r.RemoteAddr }
	}
	a := &api{APIConfig: c, places: make(chan struct{}, maxRequests)}
	a.bodies = semaphore.NewWeighted(maxRequests * a.maxBody())
	for i := range a.logs {
		a.logs[i] = rate.Sometimes{First: 10, Interval: 10 * time.Second}
	}
	return a
}

// A request is one that the application has signed.
type request struct {
	query map[string]string // by lower-case name
	body  []byte
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime))
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	answer, refused := a.serve(w, r)
	if refused != nil {
		a.refuse(w, r, refused)
		return
	}
	a.Stats.APIRequests[stats.APIAccepted].Add(1)
	write(w, http.StatusOK, answer)
}

// serve returns the answer to a request. It reads the body only if the
// signature is right, so that nobody else can make it allocate memory.
func (a *api) serve(w http.ResponseWriter, r *http.Request) (answer any, refused *refusal) {
	names, refused := a.names(r)
	if refused != nil {
		return nil, refused
	}
	query, refused := a.authenticate(r)
	if refused != nil {
		return nil, refused
	}
	handle, refused := a.route(r.Method, names)
	if refused != nil {
		return nil, refused
	}
	// A request that waits has read its body: over HTTP/2, unread bytes delay the
	// bodies of all requests on the connection.
	free, refused := a.reserve(r)
	if refused != nil {
		return nil, refused
	}
	defer free()
	body, refused := a.body(w, r, query["body_md5"])
	if refused != nil {
		return nil, refused
	}
	release, refused := a.acquire(r.Context())
	if refused != nil {
		return nil, refused
	}
	defer release()
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	return handle(ctx, request{query, body})
}

// names returns the parts of a path after the id of the application.
func (a *api) names(r *http.Request) ([]string, *refusal) {
	names := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), a.BasePath+"/apps/"), "/")
	for i, name := range names {
		var err error
		if names[i], err = url.PathUnescape(name); err != nil {
			return nil, errPath
		}
	}
	switch {
	case len(r.Header.Values("Origin")) > 0:
		return nil, errOrigin
	case a.App.ID == "":
		return nil, errOff
	case names[0] != a.App.ID:
		return nil, errApp
	}
	return names[1:], nil
}

// A handler answers a signed request.
type handler func(context.Context, request) (answer any, refused *refusal)

// route returns the handler of a path, given as its parts.
func (a *api) route(method string, path []string) (handler, *refusal) {
	allowed := http.MethodGet
	var handle handler
	switch {
	case slices.Equal(path, []string{"events"}):
		allowed, handle = http.MethodPost, a.events
	case slices.Equal(path, []string{"batch_events"}):
		allowed, handle = http.MethodPost, a.batch
	case slices.Equal(path, []string{"channels"}):
		handle = a.channels
	case slices.Equal(path, []string{"connections"}):
		handle = a.connections
	case len(path) == 2 && path[0] == "channels":
		handle = func(ctx context.Context, r request) (any, *refusal) { return a.channel(ctx, r, path[1]) }
	case len(path) == 3 && path[0] == "channels" && path[2] == "users":
		handle = func(ctx context.Context, _ request) (any, *refusal) { return a.users(ctx, path[1]) }
	case len(path) == 3 && path[0] == "users" && path[2] == "terminate_connections":
		allowed = http.MethodPost
		handle = func(ctx context.Context, _ request) (any, *refusal) { return a.terminate(ctx, path[1]) }
	default:
		return nil, errPath
	}
	if method != allowed {
		return nil, &refusal{status: http.StatusMethodNotAllowed, result: stats.APIInvalid, allow: allowed,
			problem: "only " + allowed + " is allowed here"}
	}
	return handle, nil
}

// reserve waits until there is memory for the body of a request.
func (a *api) reserve(r *http.Request) (free func(), refused *refusal) {
	n := a.maxBody()
	if r.ContentLength >= 0 {
		n = min(n, r.ContentLength)
	}
	ctx, cancel := context.WithTimeout(r.Context(), timeout)
	defer cancel()
	if a.bodies.Acquire(ctx, n) != nil {
		return nil, errBusy
	}
	return func() { a.bodies.Release(n) }, nil
}

// acquire waits until fewer than maxRequests other requests are carried out.
func (a *api) acquire(ctx context.Context) (release func(), refused *refusal) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	select {
	case a.places <- struct{}{}:
		return func() { <-a.places }, nil
	case <-ctx.Done():
		return nil, errBusy
	}
}

// refuse answers a request with an error, counts and logs it.
func (a *api) refuse(w http.ResponseWriter, r *http.Request, why *refusal) {
	a.Stats.APIRequests[why.result].Add(1)
	a.logs[why.result].Do(func() {
		attrs := []any{"remote", a.Remote(r), "status", why.status, "result", stats.APIResults[why.result], "do", advice[why.result]}
		if why.err != nil {
			attrs = append(attrs, "err", why.err)
		}
		a.Logger.Warn("a request to the HTTP API was refused", attrs...)
	})
	if why.allow != "" {
		w.Header().Set("Allow", why.allow)
	}
	write(w, why.status, map[string]string{"error": why.problem})
}

// write sends an answer. It is JSON, whatever happened, because all libraries
// show the text of an error to their caller.
func write(w http.ResponseWriter, status int, answer any) {
	if answer == nil {
		answer = struct{}{}
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(answer) // it has only names and numbers
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(bytes.TrimSuffix(text.Bytes(), []byte("\n"))) // libraries add the text to a line
}
