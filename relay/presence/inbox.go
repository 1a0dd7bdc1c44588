package presence

import (
	"bytes"
	"strconv"
	"sync"
)

// inboxBytes bounds the changes that wait for the next pass. If there are more,
// they are dropped, and the members of all watched channels are loaded again.
const inboxBytes = 4 << 20

// noticeCharge is the cost of a notice in addition to its bytes.
const noticeCharge = 64

// An inbox holds the reports of the link until the next pass, in order.
type inbox struct {
	mu       sync.Mutex
	list     []notice
	bytes    int
	overflow bool // changes were dropped
}

// A notice is one report of the link: changes, or its state.
type notice struct {
	changes []byte
	isLink  bool
	link    linkState
}

func (b *inbox) add(n notice) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !n.isLink { // the state of the link is never dropped
		if b.bytes += len(n.changes) + noticeCharge; b.bytes > inboxBytes {
			b.bytes -= len(n.changes) + noticeCharge
			b.overflow = true
			return
		}
	}
	b.list = append(b.list, n)
}

// take returns all notices, and whether changes were dropped.
func (b *inbox) take() (list []notice, overflow bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	list, overflow = b.list, b.overflow
	b.list, b.bytes, b.overflow = nil, 0, false
	return list, overflow
}

// Topic returns the Redis name of the channel on which the relays publish
// changes.
func (p *Presence) Topic() string { return p.keys.topic }

// Receive receives a message of that channel. payload is only valid during the
// call. Only the link calls it, like Online and Offline.
func (p *Presence) Receive(payload []byte) {
	if p.isWatched(payload) {
		p.inbox.add(notice{changes: bytes.Clone(payload)})
		p.awake()
	}
}

// isWatched reports whether clients watch the channel of a message, and notes
// the message's version.
func (p *Presence) isWatched(payload []byte) bool {
	channel, _, _ := bytes.Cut(payload, []byte{'\n'})
	version, _, _ := bytes.Cut(payload[bytes.LastIndexByte(payload, '\n')+1:], []byte{'\t'})
	n, _ := strconv.ParseInt(string(version), 10, 64)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = max(p.seen, n)
	return p.watched[string(channel)] != nil
}

// Online reports that the relay is connected to Redis. heard says whether it
// receives the changes.
func (p *Presence) Online(heard bool) {
	if heard {
		p.linkChanged(linkUp)
	} else {
		p.linkChanged(linkDeaf)
	}
}

// Offline reports that the connection has ended.
func (p *Presence) Offline() { p.linkChanged(linkDown) }

func (p *Presence) linkChanged(to linkState) {
	p.mu.Lock()
	p.link = to
	p.mu.Unlock()
	p.inbox.add(notice{link: to, isLink: true})
	p.awake()
}
