package counts

import (
	"bytes"
	"sync"
)

// inboxBytes bounds the messages of other relays that wait for the next pass. If
// there are more, they are dropped, and everything is read again.
const inboxBytes = 4 << 20

// messageCharge is the cost of a message in addition to its bytes.
const messageCharge = 64

// An inbox holds the reports of the link until the next pass.
type inbox struct {
	mu    sync.Mutex
	state linkState
	news  [][]byte
	bytes int
}

// A linkState is the state of the link, and what was missed.
type linkState struct {
	up, deaf bool // it is up; messages of other relays are not received
	epoch    int
	missed   bool // messages were dropped
}

// Topic returns the Redis name of the channel on which relays publish the names
// of channels whose numbers have changed.
func (c *Counts) Topic() string { return c.topic }

// Receive receives a message of that channel. payload is only valid during the
// call. Only the link calls it, like Online and Offline.
func (c *Counts) Receive(payload []byte) {
	if sender, _, _ := bytes.Cut(payload, newline); string(sender) == c.relay {
		return
	}
	c.inbox.add(payload)
	c.awake()
}

// Online reports that the relay is connected to Redis. heard says whether it
// receives the messages of other relays.
func (c *Counts) Online(heard bool) {
	c.inbox.link(true, !heard)
	c.awake()
}

// Offline reports that the connection has ended.
func (c *Counts) Offline() { c.inbox.link(false, false) }

func (b *inbox) link(up, deaf bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.state.up, b.state.deaf = up, deaf
	if up {
		b.state.epoch++
	}
}

func (b *inbox) add(payload []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	charge := len(payload) + messageCharge
	if b.bytes+charge > inboxBytes {
		b.state.missed = true
		return
	}
	b.news = append(b.news, bytes.Clone(payload))
	b.bytes += charge
}

// take returns the state of the link and the messages.
func (b *inbox) take() (state linkState, news [][]byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	state, news = b.state, b.news
	b.state.missed, b.news, b.bytes = false, nil, 0
	return state, news
}
