package why

// A Result is what happened to a message for one client, as a word for scripts.
type Result string

// The results.
const (
	Sent        Result = "sent"        // written to the client's connection, at once or when it caught up
	Waited      Result = "waited"      // written, but the client read slowly, and it waited
	Own         Result = "own"         // the session published it itself
	Unconfirmed Result = "unconfirmed" // written or waiting when the connection broke or the relay was killed
	Late        Result = "late"        // the client subscribed later, and did not catch up
	Left        Result = "left"        // the client had unsubscribed
	Ended       Result = "ended"       // the session had ended
	Pending     Result = "pending"     // the client was still catching up, and did not get that far
	Refused     Result = "refused"     // the client may not receive the channel
	Evicted     Result = "evicted"     // the client read too slowly, and was disconnected
	TooLarge    Result = "too_large"   // the message was too large: the client got a gap
	NotThere    Result = "not_there"   // the session did not subscribe to the channel, or the user had none
	NoListener  Result = "no_listener" // nobody was subscribed
	NoLink      Result = "no_link"     // there was no link to Redis
	NoMessage   Result = "no_message"  // nothing arrived on the channel
	Forgotten   Result = "forgotten"   // the records do not reach back so far
)
