package relaytest

import (
	"fmt"
	"strings"
	"time"
)

// Kind says what an [Event] is.
type Kind uint8

// What a client heard. The comment says which fields of [Event] are set beside N, At and Kind.
const (
	KindOpened       Kind = iota + 1 // the handshake succeeded. Text: the subprotocol that was echoed
	KindWelcome                      // Text: the session's id; Offline
	KindSubscribed                   // Channel, Cursor, Recovered, Ref
	KindUnsubscribed                 // Channel, Text (reason), Ref
	KindMessage                      // Channel (empty on raw), Data, Binary, Cursor
	KindGap                          // Channel (empty: all live ones), Text (reason), Cursor
	KindOffline                      // Text (reason)
	KindHeartbeat                    // Cursor ("at")
	KindPong                         // the answer to the command ping. Ref
	KindOK                           // Ref
	KindError                        // Text (code), Data (message), Channel, Ref
	KindOther                        // a type that this package does not know. Text (type), Data (the frame)
	KindPingFrame                    // a WebSocket ping. Data
	KindPongFrame                    // a WebSocket pong. Data
	KindClose                        // the relay's close frame. Code (1005: none given), Text (reason)
	KindBroken                       // the relay broke the protocol; the client hangs up. Text (how)
	KindEnd                          // the connection is over; always the last event. Code (1006 unless KindClose came), Text (error, empty after a clean end)
)

// What a client did.
const (
	KindSent    Kind = iota + 100 // a command, one event a channel. Text (type), Channel, Cursor ("after"), Data ("at"), Ref
	KindSentRaw                   // bytes of the test's own making. Data: how many
	KindClosing                   // our close frame, first. Code, Text
	KindAborted                   // the connection was dropped without a close frame. Text (how)
	KindStopped                   // it stopped reading
	KindSlowed                    // it began to read slowly
	KindResumed                   // it reads at full speed again
	KindMuted                     // it stopped answering pings
)

var kinds = map[Kind]string{
	KindOpened: "opened", KindWelcome: "welcome", KindSubscribed: "subscribed", KindUnsubscribed: "unsubscribed",
	KindMessage: "message", KindGap: "gap", KindOffline: "offline", KindHeartbeat: "heartbeat", KindPong: "pong",
	KindOK: "ok", KindError: "error", KindOther: "other", KindPingFrame: "ping frame", KindPongFrame: "pong frame",
	KindClose: "close", KindBroken: "broken", KindEnd: "end", KindSent: "sent", KindSentRaw: "sent raw bytes",
	KindClosing: "closing", KindAborted: "aborted", KindStopped: "stopped reading", KindSlowed: "reads slowly",
	KindResumed: "reads again", KindMuted: "muted",
}

// String returns the kind as reports name it.
func (k Kind) String() string {
	if name, ok := kinds[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Event is one thing that a client heard or did. Strings that many clients hear alike share their memory.
type Event struct {
	N  int       // place in the client's log, from 0
	At time.Time // wall and monotonic time at which the last byte was read, or the first was about to be written

	// Sent is when the relay had sent what was heard, at the latest: when a proxy had it, or the same as At.
	Sent time.Time

	Kind      Kind
	Binary    bool   // the payload came in a binary frame (raw) or in base64 (sidecast.v1)
	Recovered bool   // of a subscribed: what was missed follows
	Offline   bool   // of a welcome: Redis is away
	Code      uint16 // close code
	Ref       int64  // the number that the command carried, and so its answers; 0 for none

	Channel string
	Data    string
	Cursor  string
	Text    string
}

// String describes the event in one line, without its payload's bytes.
func (e Event) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "#%d %s %s", e.N, e.At.Format("15:04:05.000000"), e.Kind)
	if e.Channel != "" {
		fmt.Fprintf(&b, " %q", e.Channel)
	}
	switch e.Kind {
	case KindMessage:
		fmt.Fprintf(&b, " (%s)", describe(e.Data))
	case KindSubscribed:
		fmt.Fprintf(&b, " recovered=%v", e.Recovered)
	case KindSent:
		if e.Cursor != "" || e.Data != "" {
			fmt.Fprintf(&b, " after=%q at=%q", e.Cursor, e.Data)
		}
	case KindError, KindOther, KindSentRaw:
		fmt.Fprintf(&b, " %.200q", e.Data)
	}
	if e.Cursor != "" && e.Kind < KindSent {
		fmt.Fprintf(&b, " cursor=%s", e.Cursor)
	}
	if e.Code != 0 {
		fmt.Fprintf(&b, " %d", e.Code)
	}
	if e.Text != "" {
		fmt.Fprintf(&b, " %.200q", e.Text)
	}
	return b.String()
}

// sent is the time at which the relay sent it, at the latest.
func (e Event) sent() time.Time {
	if e.Sent.IsZero() {
		return e.At
	}
	return e.Sent
}

// Is matches events of a kind, on any channel.
func Is(kind Kind) func(Event) bool { return func(e Event) bool { return e.Kind == kind } }

// IsOn matches events of a kind on one channel.
func IsOn(kind Kind, channel string) func(Event) bool {
	return func(e Event) bool { return e.Kind == kind && e.Channel == channel }
}
