package relaytest

import (
	"fmt"
	"strings"
	"time"
)

// Kind is the kind of an [Event].
type Kind uint8

// What a client received. The comments list the fields of [Event] that are set
// in addition to N, At and Kind.
const (
	KindOpened       Kind = iota + 1 // the handshake succeeded. Text: the subprotocol that the relay chose
	KindWelcome                      // Text: the session's id; Offline
	KindSubscribed                   // Channel, Cursor, Recovered, Ref; Data (the frame) if it has members
	KindUnsubscribed                 // Channel, Text (reason), Ref
	KindMessage                      // Channel (empty on raw), Data, Binary, Cursor
	KindGap                          // Channel (empty: all live ones), Text (reason), Cursor
	KindOffline                      // Text (reason)
	KindHeartbeat                    // Cursor ("at")
	KindPong                         // the answer to the command ping. Ref
	KindOK                           // Ref
	KindError                        // Text (code), Data (message), Channel, Ref
	KindOther                        // an unknown type. Text (type), Data (the frame)
	KindPingFrame                    // a WebSocket ping. Data
	KindPongFrame                    // a WebSocket pong. Data
	KindClose                        // the relay's close frame. Code (1005: it had no code), Text (reason)
	KindBroken                       // the relay broke the protocol; the client closes the connection. Text (how)
	// KindEnd is the last event: the connection has ended. Code (1006 without
	// KindClose), Text (the error; empty after a clean end).
	KindEnd
)

// What a client did.
const (
	// KindSent is a command, one event per channel. Text (type), Channel,
	// Cursor ("after"), Data ("at"), Ref.
	KindSent           Kind = iota + 100
	KindSentRaw             // bytes that the test has written. Data: how many
	KindClosing             // a close frame, before one of the relay. Code, Text
	KindAborted             // the connection was dropped without a close frame. Text (how)
	KindStoppedReading      // it stopped reading
	KindResumedReading      // it reads again
)

var kinds = map[Kind]string{
	KindOpened: "opened", KindWelcome: "welcome", KindSubscribed: "subscribed", KindUnsubscribed: "unsubscribed",
	KindMessage: "message", KindGap: "gap", KindOffline: "offline", KindHeartbeat: "heartbeat", KindPong: "pong",
	KindOK: "ok", KindError: "error", KindOther: "other", KindPingFrame: "ping frame", KindPongFrame: "pong frame",
	KindClose: "close", KindBroken: "broken", KindEnd: "end", KindSent: "sent", KindSentRaw: "sent raw bytes",
	KindClosing: "closing", KindAborted: "aborted",
	KindStoppedReading: "stopped reading", KindResumedReading: "reads again",
}

// String returns the name of the kind in reports.
func (k Kind) String() string {
	if name, ok := kinds[k]; ok {
		return name
	}
	return fmt.Sprintf("kind %d", uint8(k))
}

// An Event is one thing that a client received or did. Messages that many
// clients receive share their memory.
type Event struct {
	N  int       // index in the client's log
	At time.Time // when the last byte was read, or just before the first was written; wall and monotonic time

	// Sent is the latest time at which the relay can have sent the frame: when
	// a proxy forwarded it. Zero stands for At.
	Sent time.Time

	Kind      Kind
	Binary    bool   // the payload was in a binary frame (raw) or in base64 (sidecast.v1)
	Recovered bool   // of subscribed: the relay sends the missed messages
	Offline   bool   // of welcome: the relay has no connection to Redis
	Code      uint16 // close code
	Ref       int64  // the number of the command and of its answers; 0 if the command has no number

	Since string // of a subscribe that was sent
	Last  int    // likewise

	Channel string
	Data    string
	Cursor  string
	Text    string
}

// String describes the event in one line, without the bytes of its payload.
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
		if e.Since != "" || e.Last > 0 {
			fmt.Fprintf(&b, " since=%q last=%d", e.Since, e.Last)
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

// sent returns the latest time at which the relay can have sent the event.
func (e Event) sent() time.Time {
	if e.Sent.IsZero() {
		return e.At
	}
	return e.Sent
}

// Is returns a match for all events of a kind.
func Is(kind Kind) func(Event) bool { return func(e Event) bool { return e.Kind == kind } }

// IsOn returns a match for events of a kind on one channel.
func IsOn(kind Kind, channel string) func(Event) bool {
	return func(e Event) bool { return e.Kind == kind && e.Channel == channel }
}
