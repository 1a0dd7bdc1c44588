// Package through connects to a relay as a browser does, through all proxies in
// front of it, and reports how they treat WebSocket and event streams. It needs
// only the URL.
package through

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"sidecast/relay/source"
)

// Limits of a check.
const (
	dialTime   = 10 * time.Second // to connect, with the TLS handshake
	answerTime = 10 * time.Second // for each answer, and for the first frame or block
	maxAnswer  = 64 << 10         // of an answer's body, in bytes

	// usualHeartbeat is assumed if the relay has not said how often it sends
	// heartbeats, and lateness is how much later than that one can arrive.
	usualHeartbeat = 25 * time.Second
	lateness       = 10 * time.Second
)

// Config says what to connect to.
type Config struct {
	URL     *url.URL // of the relay's WebSocket, as [Parse] returns it
	Origin  string   // of the page; if it is empty, the page has the same host
	Channel string   // that the client may receive; may be empty
	Token   string   // to log in with; may be empty
	Cookie  string   // the header of the browser; may be empty

	// Idle is how long connections are left open, to see whether anything ends
	// them.
	Idle time.Duration

	Report func(source.Finding)              // called for each finding, one after the other
	Wait   func(waited, total time.Duration) // called each second while connections are idle; may be nil
}

// Parse returns the URL of a WebSocket for one that may also begin with http or
// https. Without a path, it is /ws.
func Parse(raw string) (*url.URL, error) {
	u, err := url.Parse(raw)
	if err != nil || u.Host == "" || u.Hostname() == "" || u.User != nil || u.Fragment != "" || u.RawQuery != "" {
		return nil, fmt.Errorf("write it like wss://app.example.com/ws") // a wrong URL may contain a token anywhere
	}
	switch strings.ToLower(u.Scheme) {
	case "http", "ws":
		u.Scheme = "ws"
	case "https", "wss":
		u.Scheme = "wss"
	default:
		return nil, fmt.Errorf("write it like wss://app.example.com/ws")
	}
	if u.Path == "" {
		u.Path = "/ws"
	}
	return u, nil
}

// A check connects through the proxies. Only one goroutine uses it.
type check struct {
	Config
	server string // the headers Server and Via of the last answer that had one, in lower case

	certified bool           // the certificate was reported
	first     source.Finding // about the WebSocket
	plain     bool           // handshakes offer no compression
	took      time.Duration  // until the relay's welcome, or the first failure
	heartbeat time.Duration  // between the relay's heartbeats, or 0 if it is not known
}

// Check connects, and reports its findings. It takes at most two minutes more than
// cfg.Idle. If ctx ends, it returns early.
func Check(ctx context.Context, cfg Config) {
	ctx, cancel := context.WithTimeout(ctx, cfg.Idle+2*time.Minute)
	defer cancel()
	c := &check{Config: cfg}
	if c.Origin == "" {
		c.Origin = c.http().Scheme + "://" + c.URL.Host
	}
	c.checkMixed(ctx)
	socket, connected := c.open(ctx)
	if !connected {
		return
	}
	if socket != nil {
		defer socket.close()
		c.checkForeign(ctx)
		c.checkQuery(ctx)
		c.checkSizes(ctx)
	}
	c.idle(ctx, socket)
}

// report reports a finding, unless ctx has ended, which makes everything fail.
func (c *check) report(ctx context.Context, f source.Finding) {
	if ctx.Err() == nil {
		c.Report(f)
	}
}

// http returns the URL of the WebSocket with the scheme of HTTP.
func (c *check) http() *url.URL {
	u := *c.URL
	u.Scheme = "http" + strings.TrimPrefix(u.Scheme, "ws")
	return &u
}

// saw remembers which proxy has answered.
func (c *check) saw(header http.Header) {
	if server := header.Get("Server") + " " + header.Get("Via"); strings.TrimSpace(server) != "" {
		c.server = strings.ReplaceAll(strings.ToLower(server), "openresty", "nginx") // its configuration is that of nginx
	}
}
