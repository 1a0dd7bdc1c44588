package through

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"sidecast/relay/protocol"
)

// A dialect is the protocol of the check on a WebSocket: sidecast.v1, or that of
// Pusher for the URLs of Laravel Echo and pusher-js.
type dialect struct {
	subprotocol string // empty: the protocol has no name
	ping        string // a command, with %s for a padding
	pong        string // a part of the answer
}

var (
	sidecastV1 = dialect{protocol.SubprotocolV1, `{"type":"ping","padding":%q}`, `"pong"`}
	pusher     = dialect{"", `{"event":"pusher:ping","data":{"padding":%q}}`, `"pusher:pong"`}
)

// dialect returns the protocol for the path of the URL.
func (c *check) dialect() dialect {
	if strings.Contains(c.URL.Path, appPath) {
		return pusher
	}
	return sidecastV1
}

// appPath is in the paths of the Pusher protocol, before the key.
const appPath = "/app/"

// base returns the path before /ws or /app, which SIDECAST_BASE_PATH names.
func (c *check) base() string {
	if base, _, found := strings.Cut(c.URL.Path, appPath); found {
		return base
	}
	return strings.TrimSuffix(strings.TrimRight(c.URL.Path, "/"), "/ws")
}

// ownPath returns the path for the configuration of a proxy, which does not
// contain the key.
func (c *check) ownPath() string {
	if c.dialect() == pusher {
		return c.base() + appPath
	}
	return c.URL.Path
}

// padded returns a ping of about this size.
func (d dialect) padded(size int) string { return fmt.Sprintf(d.ping, strings.Repeat("x", size)) }

// A welcome is the first frame of a relay.
type welcome struct {
	Type, Event string
	User        string
	Heartbeat   int // in seconds; 0 if the protocol does not name it
	Offline     bool
}

// readWelcome returns false if the frame is not a relay's first one.
func readWelcome(frame string) (w welcome, ok bool) {
	err := json.Unmarshal([]byte(frame), &w)
	return w, err == nil && (w.Type == "welcome" || w.Event == "pusher:connection_established")
}

// every returns the time between the heartbeats.
func (w welcome) every() time.Duration { return time.Duration(w.Heartbeat) * time.Second }

// isOurs reports whether a relay closes connections with this reason.
func (c *closed) isOurs() bool {
	for _, code := range protocol.CloseSlots() {
		for _, why := range protocol.CloseReasons() {
			if reason := code.Because(why).Reason(); reason != "" && reason == c.Reason {
				return true
			}
		}
	}
	return false
}
