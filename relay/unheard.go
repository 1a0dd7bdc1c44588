package relay

import "sidecast/relay/history"

// Unheard finds the messages to which no client of any relay is subscribed, on
// some channels. Its methods must not wait.
type Unheard interface {
	// Match reports whether the channel is one of those.
	Match(channel []byte) bool
	// Listen reports that the channel has its first subscriber at this relay,
	// and Leave that the last one has left. They are called for each channel.
	Listen(channel string)
	Leave(channel string)
	// Message reports a message on such a channel without a subscriber at this
	// relay. cursor is empty if other relays would not understand it. The slices
	// are valid during the call only.
	Message(channel, payload, cursor []byte)
	// Nudge reports that the stream of a durable channel without a subscriber at
	// this relay may have new entries. It is called for each such channel,
	// concurrently.
	Nudge(channel []byte)
}

// watch makes a message without subscribers known to [Unheard], if it is on one
// of its channels. The hub is locked.
func (l *ledger) watch(in *incoming, ch *channel) {
	if !l.unheard.Match(in.name) {
		return
	}
	in.unheard = true
	if ch != nil && l.history.On() && l.history.Shared(ch.At()) {
		in.cursor = l.cursorAt(ch.At())
	}
}

// cursorAt returns a cursor in the batch's memory. The hub is locked.
func (l *ledger) cursorAt(at history.Point) []byte {
	begin := len(l.batch.cursors)
	l.batch.cursors = l.history.AppendCursor(l.batch.cursors, at)
	return l.batch.cursors[begin:]
}
