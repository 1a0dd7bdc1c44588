package cli

// maxUnnamed bounds how many channels a tailer keeps to which the relay has
// subscribed it by itself: those of the user, and those that the application
// adds.
const maxUnnamed = 1000

// A tailChannel is a channel and the tailer's position in it, from which it
// resumes (relay/protocol/README.md).
type tailChannel struct {
	name      string
	named     bool // on the command line
	own       bool // the relay subscribes the client to it at each connection
	state     tailState
	after, at string
}

// A tailState is the state of a channel on the current connection.
type tailState uint8

const (
	tailOff     tailState = iota
	tailAsked             // the relay has not answered the subscribe yet
	tailLeaving           // or the unsubscribe that has to come before it
	tailOn
)

// move stores the position of a frame.
func (c *tailChannel) move(cursor string) {
	if cursor != "" {
		c.after, c.at = cursor, ""
	}
}

// A tailRequest is a frame that a tailer sends. ref distinguishes its answers from
// subscriptions that the relay makes by itself.
type tailRequest struct {
	Type     string             `json:"type"`
	Ref      int                `json:"ref"`
	Channel  string             `json:"channel,omitempty"`
	Channels []tailSubscription `json:"channels,omitempty"`
}

type tailSubscription struct {
	Channel string `json:"channel"`
	After   string `json:"after,omitempty"`
	At      string `json:"at,omitempty"`
}

// subscribeFrameChannels is how many channels a subscribe names, so that it is
// shorter than the relay's default limit whatever their names are.
const subscribeFrameChannels = 15

// requestAll asks the relay for all channels that have to be requested.
func (t *tailer) requestAll() {
	var entries []tailSubscription
	for _, c := range t.channels {
		switch {
		case c.state != tailOff:
		case c.own:
			t.leave(c)
		default:
			c.state = tailAsked
			entries = append(entries, tailSubscription{c.name, c.after, c.at})
		}
	}
	for len(entries) > 0 {
		n := min(len(entries), subscribeFrameChannels)
		t.send(tailRequest{Type: "subscribe", Channels: entries[:n]})
		entries = entries[n:]
	}
}

// request asks the relay for one channel.
func (t *tailer) request(c *tailChannel) {
	c.state = tailAsked
	t.send(tailRequest{Type: "subscribe", Channels: []tailSubscription{{c.name, c.after, c.at}}})
}

// leave ends a subscription that the relay has made by itself, because a client
// can resume only with a subscribe.
func (t *tailer) leave(c *tailChannel) {
	c.own, c.state = true, tailLeaving
	t.send(tailRequest{Type: "unsubscribe", Channel: c.name})
}

func (t *tailer) send(request tailRequest) {
	request.Ref = 1
	frame, err := marshal(request)
	if err == nil {
		err = t.client.Send(string(frame))
	}
	if err != nil {
		t.client.Close() // the next connection sends it
	}
}

// channel returns the channel of that name, or nil. It adds one to which the
// relay has subscribed the client by itself.
func (t *tailer) channel(name string, add bool) *tailChannel {
	for _, c := range t.channels {
		if c.name == name {
			return c
		}
	}
	if !add || len(t.channels) >= t.named+maxUnnamed {
		return nil
	}
	c := &tailChannel{name: name, own: true}
	t.channels = append(t.channels, c)
	return c
}
