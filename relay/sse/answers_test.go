package sse

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/access"
	"sidecast/relay/protocol"
	"sidecast/relay/stats"
)

// withUsers identifies clients by their token: "42" is a user with two channels,
// "away" makes the application unavailable, and anything else is invalid.
func withUsers(o *options) {
	o.hub.Access.Public, o.hub.Access.Login = access.Patterns{access.MustPattern("public*"), access.MustPattern("order:*")}, true
	o.sse.DefaultChannels = nil
	o.sse.Identify = func(r *http.Request, token *string) (access.Principal, protocol.CloseCode) {
		switch {
		case token == nil:
			return access.Principal{}, 0
		case *token == "42":
			own := []string{"user:42"}
			id := &access.Identity{User: "42", Own: own, Subscribe: access.Patterns{access.MustPattern("user:42")}}
			return access.Principal{Identity: id}, 0
		case *token == "away":
			return access.Principal{}, protocol.CloseTryLater
		}
		return access.Principal{}, protocol.CloseUnauthorized
	}
}

// TestAnswers checks the status and the body of each answer that is not a
// stream, and which ones are.
func TestAnswers(t *testing.T) {
	var many strings.Builder
	many.WriteString("/sse?channel=public")
	for i := range 129 {
		many.WriteString("&channel=public" + string(rune('a'+i%26)) + strings.Repeat("x", i/26))
	}
	const stream, again = "stream", "again"
	for _, tt := range []struct {
		why, target string
		status      int
		body        string // of the answer, or what it is
	}{
		{"one channel", "/sse?channel=public", 200, stream},
		{"the same channel twice counts once", "/sse?channel=public&channel=public", 200, stream},
		{"a durable channel", "/sse?channel=order:1", 200, again}, // the relay of this test has no streams
		{"the user's own channels", "/sse?token=42", 200, stream},
		{"no channel", "/sse", 400, "no channel: add ?channel=NAME to the URL, or set SIDECAST_DEFAULT_CHANNELS"},
		{"a query that cannot be parsed", "/sse?channel=%zz", 400, "the query of the URL is invalid: escape each value"},
		{"an unknown format", "/sse?channel=public&format=xml", 400, "unknown format: write format=raw or format=json"},
		{"several channels as bare payloads", "/sse?channel=public&channel=public2&format=raw", 400, "format=raw has no place"},
		{"two durable channels", "/sse?channel=order:1&channel=order:2", 400, "a durable channel needs an EventSource of its own"},
		{"a durable and a live channel", "/sse?channel=order:1&channel=public&channel=order:2", 400,
			severalDurable.text + "\norder:1\norder:2\n"},
		{"too many channels", many.String(), 400, "more channels than an event stream may have: name fewer channels, or raise SIDECAST_MAX_CHANNELS_PER_SESSION"},
		{"more signatures than channels", "/sse?channel=public&sig=a&sig=b", 400, "more signatures or users than channels"},
		{"a signature without a channel", "/sse?sig=a", 400, "more signatures or users than channels"},
		{"a misspelt signature", "/sse?channel=public&sigs=a", 400, "a parameter of the URL is misspelt: the parameters are channel, format, after, at, since, last, token, sig, user"},
		{"more positions than channels", "/sse?channel=public&after=a&after=b", 400, "more positions than channels"},
		{"last is not a number", "/sse?channel=public&last=x", 400, "last is not a number of messages"},
		{"since on a live channel", "/sse?channel=public&since=0-0", 400,
			"since is for durable channels only: use last, or add the channel to SIDECAST_DURABLE_CHANNELS"},
		{"since is not an id", "/sse?channel=order:1&since=x", 400, "since is not the id of an entry"},
		{"a misspelt parameter", "/sse?chanel=public&channel=public", 400,
			"a parameter of the URL is misspelt: the parameters are channel, format, after, at, since, last, token"},
		{"a parameter that is not ours", "/sse?channel=public&lang=en", 200, stream},
		{"two tokens", "/sse?channel=public&token=42&token=42", 400, "more than one token"},
		{"an invalid token", "/sse?channel=public&token=x", 401, "no valid login: log in again"},
		{"a channel that needs a login", "/sse?channel=private", 401, "receiving this channel needs a login"},
		{"a channel that the user may not receive", "/sse?channel=private&token=42", 403, "receiving this channel is not allowed"},
		{"a reserved name", "/sse?channel=sidecast:x&token=42", 403, "not a channel name, or a reserved one"},
		{"a pattern", "/sse?channel=private*&token=42", 403, "a channel name is not a pattern: name each channel"},
		{"the application's login is not available", "/sse?channel=public&token=away", 200, again},
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			r := b.open(tt.target)
			switch {
			case r.StatusCode != tt.status:
				t.Errorf("%s: the answer is %s", tt.why, r.Status)
			case tt.body == stream:
				r.want("id")
			case tt.body == again && strings.Contains(tt.target, "order"):
				r.want(":", "event: close\ndata: {\"code\":1013,\"reason\":\"not available now: try again later\"}")
			case tt.body == again:
				wantTryAgain(t, r)
			default:
				if got := r.body(); !strings.HasPrefix(got, tt.body) {
					t.Errorf("%s: the body is %q, want %q", tt.why, got, tt.body)
				}
			}
			if r.Header.Get("Cache-Control") != "no-store" || r.Header.Get("Vary") != "Origin" {
				t.Errorf("%s: the headers are %v", tt.why, r.Header)
			}
			if strings.Contains(b.log.String(), "token=") {
				t.Errorf("%s: the log contains the query: %s", tt.why, b.log)
			}
		}, withUsers)
	}
}

// A user's own channels, and several channels, are in the JSON form.
func TestFormatOfOwnChannels(t *testing.T) {
	for target, want := range map[string]protocol.ID{
		"/sse?token=42":                            protocol.SSEID,
		"/sse?token=42&format=json":                protocol.SSEJSONID,
		"/sse?token=42&channel=public":             protocol.SSEID,
		"/sse?token=42&channel=public&format=json": protocol.SSEJSONID,
	} {
		inBubble(t, func(t *testing.T, b *bubble) {
			b.open(target)
			if n := b.stats.Connections[protocol.ServerSentEvents][want].Load(); n != 1 {
				t.Errorf("%s: %d connections with %s", target, n, want)
			}
		}, withUsers)
	}
}

// The page that sent a request may read the answer, whatever it is.
func TestOrigin(t *testing.T) {
	const page = "https://app.example"
	inBubble(t, func(t *testing.T, b *bubble) {
		for _, target := range []string{"/sse?channel=public", "/sse", "/sse?channel=private"} {
			header := b.open(target, "Origin", page).Header
			if header.Get("Access-Control-Allow-Origin") != page || header.Get("Access-Control-Allow-Credentials") != "true" {
				t.Errorf("%s: the headers are %v", target, header)
			}
		}
		if header := b.open("/sse?channel=public").Header; header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("without an origin, the headers are %v", header)
		}
		r := b.request(http.MethodOptions, "/sse?channel=public", "Origin", page, "Access-Control-Request-Method", "GET",
			"Access-Control-Request-Headers", "authorization")
		if r.StatusCode != http.StatusNoContent || r.Header.Get("Access-Control-Allow-Origin") != page ||
			!strings.Contains(r.Header.Get("Access-Control-Allow-Headers"), "Authorization") {
			t.Errorf("a preflight is answered with %s and %v", r.Status, r.Header)
		}
		if r := b.request(http.MethodPost, "/sse?channel=public"); r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, OPTIONS" {
			t.Errorf("POST is answered with %s and %v", r.Status, r.Header)
		}
	}, withUsers)
}

// At a limit, the client is asked to try again. Each stream of an HTTP/2
// connection counts.
func TestLimits(t *testing.T) {
	for name, limits := range map[string]option{
		"connections": func(o *options) { o.slots, o.hub.PingInterval = 3, 0 },
		"per address of the connection": func(o *options) {
			o.perAddress, o.hub.PingInterval, o.peer = 3, 0, netip.MustParseAddr("192.0.2.1")
		},
		"per address behind a proxy": func(o *options) {
			o.perAddress, o.hub.PingInterval = 3, 0
			o.sse.Limited = func(*http.Request) netip.Addr { return netip.MustParseAddr("192.0.2.1") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *bubble) {
				var streams []*reader
				for range 3 {
					r := b.open("/sse?channel=a")
					r.want("id")
					streams = append(streams, r)
				}
				time.Sleep(time.Minute) // none of them is idle
				wantTryAgain(t, b.open("/sse?channel=a"))
				streams[0].leave()
				b.open("/sse?channel=a").want("id")
				wantTryAgain(t, b.open("/sse?channel=a"))
				rejected := b.stats.Rejected[stats.RejectCapacity].Load() + b.stats.Rejected[stats.RejectAddress].Load()
				if rejected != 2 {
					t.Errorf("%d clients were counted as rejected, want 2", rejected)
				}
			}, limits)
		})
	}
}

// Each request for a stream counts as a new connection of its address, also if
// it is refused, and also if the connection is not new: one HTTP/2 connection
// cannot make the relay ask the application without a limit.
func TestRequestsPerSecond(t *testing.T) {
	const perSecond = 5
	address := netip.MustParseAddr("192.0.2.1")
	for name, count := range map[string]option{
		"of the connection": func(o *options) { o.peer = address },
		"behind a proxy":    func(o *options) { o.sse.Limited = func(*http.Request) netip.Addr { return address } },
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			inBubble(t, func(t *testing.T, b *bubble) {
				for second := range 3 {
					asked = 0
					for range 20 {
						_ = b.open("/sse?channel=a&token=x").body()
					}
					if asked != perSecond {
						t.Errorf("second %d: %d requests are let through, want %d", second, asked, perSecond)
					}
					time.Sleep(time.Second)
				}
			}, count, func(o *options) {
				o.perSecond = perSecond
				o.sse.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) {
					asked++
					return access.Principal{}, protocol.CloseUnauthorized
				}
			})
		})
	}
}

// If the code that decides about a client fails, its places are free again, and
// the relay can stop.
func TestPanic(t *testing.T) {
	inBubble(t, func(t *testing.T, b *bubble) {
		response, err := b.client.Get("http://relay/sse?channel=a")
		if err == nil {
			t.Errorf("the answer is %s", response.Status)
			_ = response.Body.Close()
		}
		b.client.CloseIdleConnections()
		synctest.Wait()
		if n := b.slots.Used(); n != 0 {
			t.Errorf("%d slots are in use", n)
		}
	}, func(o *options) {
		o.sse.Identify = func(*http.Request, *string) (access.Principal, protocol.CloseCode) { panic("a fault") }
	})
}
