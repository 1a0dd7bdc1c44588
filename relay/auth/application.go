package auth

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// Bounds on how long the application's word holds, and how long it does where the application does not say.
const (
	minExpiry     = 10 * time.Second
	maxExpiry     = 24 * time.Hour
	defaultExpiry = time.Hour
)

// ApplicationConfig is what [NewApplication] needs. A URL that is empty is not asked.
type ApplicationConfig struct {
	LoginURL    string        // who is this?
	ChannelURL  string        // may this user hear this channel?
	Timeout     time.Duration // of one request, from when it is sent
	Cache       time.Duration // how long an answer is kept at most
	Concurrency int           // requests at once; eight times as many may wait
	Grants      Grants
	Proxies     Proxies
	Stats       *stats.Stats
	Logger      *slog.Logger
}

// An Application is asked who its users are and what they may hear, with what their browsers sent: cookies and all. It
// cannot be asked more than a fixed number of questions at once, whatever comes. It is safe for concurrent use.
type Application struct {
	lane     *lane
	login    *asker // nil where there is none
	channels *asker // nil where there is none
	grants   Grants
	proxies  Proxies
}

// NewApplication returns an application that can be asked until [Application.Run] ends.
func NewApplication(c ApplicationConfig) *Application {
	a := &Application{lane: newLane(c), grants: c.Grants, proxies: c.Proxies}
	if c.LoginURL != "" {
		a.login = newAsker(a.lane, c.LoginURL, "SIDECAST_AUTH_URL", a.readLogin)
	}
	if c.ChannelURL != "" {
		a.channels = newAsker(a.lane, c.ChannelURL, "SIDECAST_CHANNEL_AUTH_URL", readChannel)
	}
	return a
}

// Run waits until ctx ends, and then until nothing is being asked any more: what is asked later is unavailable.
func (a *Application) Run(ctx context.Context) error { return a.lane.run(ctx) }

// Login asks who sends the request: [relay.CodeOK] with an identity, or without one for somebody whom the application does
// not know; [relay.CodeForbidden]; or [relay.CodeUnavailable]. Who brings neither a cookie nor Authorization is not asked
// about.
func (a *Application) Login(ctx context.Context, r *http.Request) (*access.Identity, protocol.Code) {
	if a.login == nil || !hasCredentials(r) {
		return nil, protocol.CodeOK
	}
	switch said := a.login.ask(ctx, a.digest(r), a.headers(r)); said.verdict {
	case granted:
		return said.id, protocol.CodeOK
	case anonymous:
		return nil, protocol.CodeOK
	case forbidden:
		return nil, protocol.CodeForbidden
	}
	return nil, protocol.CodeUnavailable
}

// Permit returns what asks the application about the channels of who sends the request, or nil where there is nobody to
// ask or nothing to ask about. It keeps the request's cookies for as long as it is kept itself.
func (a *Application) Permit(r *http.Request, id *access.Identity) func(context.Context, string, string) (time.Time, protocol.Code) {
	if a.channels == nil || id == nil && !hasCredentials(r) {
		return nil
	}
	header, credentials := a.headers(r), a.digest(r)
	return func(ctx context.Context, user, channel string) (time.Time, protocol.Code) {
		question := header.Clone()
		question.Set("X-Sidecast-Channel", headerText(channel))
		if user != "" {
			question.Set("X-Sidecast-User", headerText(user))
		}
		key := a.lane.digest([]string{string(credentials[:]), user, channel})
		switch said := a.channels.ask(ctx, key, question); said.verdict {
		case granted:
			return said.until, protocol.CodeOK
		case forbidden:
			return time.Time{}, protocol.CodeForbidden
		}
		return time.Time{}, protocol.CodeUnavailable
	}
}

func hasCredentials(r *http.Request) bool {
	return r.Header.Get("Cookie") != "" || r.Header.Get("Authorization") != ""
}

// forwarded are the headers of the browser that reach the application. Nothing else of its request does.
var forwarded = []string{"Cookie", "Authorization", "Origin", "User-Agent"}

// headers are those of a question. Frameworks answer 401, and not a redirect to a page, to who asks for JSON by script.
func (a *Application) headers(r *http.Request) http.Header {
	h := http.Header{
		"Accept":           {"application/json"},
		"X-Requested-With": {"XMLHttpRequest"},
		"User-Agent":       {""}, // none of ours
	}
	for _, name := range forwarded {
		if values := r.Header.Values(name); len(values) > 0 {
			h[name] = slices.Clone(values)
		}
	}
	if address := a.proxies.Client(r); address.IsValid() {
		h.Set("X-Forwarded-For", address.String())
	}
	return h
}

// digest stands for the credentials in a request, and for where they came from.
func (a *Application) digest(r *http.Request) digest {
	return a.lane.digest(r.Header.Values("Cookie"), r.Header.Values("Authorization"), r.Header.Values("Origin"),
		[]string{a.proxies.Client(r).String()})
}

// headerText writes a name so that it arrives as it is: percent-encoded where it is not printable ASCII. A header's value
// loses the spaces at its ends, and " chat" must not be asked about as "chat".
func headerText(name string) string {
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

var (
	errLoginAnswer = errors.New(`the answer is not like {"user":"42","channels":["chat:*"]}; ` +
		"the application has to answer 401 to whom it does not know")
	errChannelAnswer = errors.New("a channel is opened by an empty answer or a JSON object, and nothing else")
)

// readLogin reads an answer to Login. What is neither a yes nor a no means that nobody can tell.
func (a *Application) readLogin(status int, body []byte) (answer, error) {
	switch {
	case status == http.StatusUnauthorized, status >= 300 && status < 400:
		return answer{verdict: anonymous}, nil
	case status == http.StatusForbidden:
		return answer{verdict: forbidden}, nil
	case status < 200 || status > 299:
		return answer{}, errStatus
	}
	var said struct {
		User      userID   `json:"user"`
		Channels  []string `json:"channels"`
		Publish   []string `json:"publish"`
		ExpiresIn *float64 `json:"expires_in"`
	}
	if err := json.Unmarshal(body, &said); err != nil {
		return answer{}, errLoginAnswer
	}
	expiry := expiry(said.ExpiresIn, defaultExpiry)
	id, err := a.grants.identity(string(said.User), saidGrants{channels: said.Channels, publish: said.Publish}, time.Now().Add(expiry))
	if err != nil {
		return answer{}, errLoginAnswer
	}
	return answer{verdict: granted, id: id, keep: expiry / 2}, nil
}

// readChannel reads an answer to Permit. A page in place of JSON, such as a form to log in with, opens nothing.
func readChannel(status int, body []byte) (answer, error) {
	switch {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return answer{verdict: forbidden}, nil
	case status < 200 || status > 299:
		return answer{}, errStatus
	}
	var said struct {
		ExpiresIn *float64 `json:"expires_in"`
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && string(body) != "[]" { // an empty array is what PHP makes of an empty object
		if json.Unmarshal(body, &said) != nil || body[0] != '{' {
			return answer{}, errChannelAnswer
		}
	}
	if said.ExpiresIn == nil {
		return answer{verdict: granted, keep: maxExpiry}, nil
	}
	expiry := expiry(said.ExpiresIn, 0)
	return answer{verdict: granted, until: time.Now().Add(expiry), keep: expiry / 2}, nil
}

// expiry brings what the application says within bounds.
func expiry(seconds *float64, unsaid time.Duration) time.Duration {
	if seconds == nil {
		return unsaid
	}
	return time.Duration(min(max(*seconds, minExpiry.Seconds()), maxExpiry.Seconds()) * float64(time.Second))
}
