package why

import "slices"

// A Result is what happened to a message for one client, as a word for scripts.
type Result string

// The results.
const (
	Evicted     Result = "evicted"     // the client read too slowly, and was disconnected
	Refused     Result = "refused"     // the client may not receive the channel
	TooLarge    Result = "too_large"   // the message was too large: the client received a gap
	NoLink      Result = "no_link"     // there was no link to Redis
	NoMessage   Result = "no_message"  // nothing arrived on the channel
	NoListener  Result = "no_listener" // nobody was subscribed
	Ended       Result = "ended"       // the session had ended
	Left        Result = "left"        // the client had unsubscribed
	Late        Result = "late"        // the client subscribed later, and did not catch up
	Pending     Result = "pending"     // the client had subscribed and was still catching up
	NotThere    Result = "not_there"   // the session was not subscribed to the channel, or the user had no session
	Unconfirmed Result = "unconfirmed" // written or waiting when the connection broke or the relay was killed
	Forgotten   Result = "forgotten"   // the records do not reach back so far
	Waited      Result = "waited"      // written, but the client read slowly, and it waited
	Own         Result = "own"         // the session published it itself
	Sent        Result = "sent"        // written to the client's connection, at once or when it caught up
	Unlisted    Result = "unlisted"    // there are more answers
)

var inOrder = [...]Result{
	NoLink, NoMessage, NoListener, Refused, Evicted, TooLarge, Ended, Left, Late, Pending, NotThere, Unconfirmed, Forgotten, Waited, Own,
	Sent, Unlisted,
}

// rank orders results: what went wrong comes first.
func (r Result) rank() int { return slices.Index(inOrder[:], r) }

// certainty orders results for a message that was given to a session twice, when
// it came and when the client returned.
func (r Result) certainty() int {
	switch r {
	case Sent, Waited:
		return 2
	case Unconfirmed:
		return 1
	}
	return 0
}
