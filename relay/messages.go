package relay

import (
	"slices"

	"sidecast/relay/access"
	"sidecast/relay/history"
	"sidecast/relay/outbox"
	"sidecast/relay/pagecache"
	"sidecast/relay/protocol"
)

// A message is one message of the history, encoded for one protocol.
type message struct {
	offset uint64 // in the history
	ord    uint64 // number of the cursor's marker
	cursor history.Cursor
	hash   uint64 // of the payload
	frame  []byte // nil if the protocol has none
	large  bool   // the message was too large to be relayed
	// byClient is whether a client has sent it, if that matters for the protocol.
	byClient bool
	socket   access.SocketNumber // of the session that does not receive it; 0 if all do
}

func (m *message) point() history.Point {
	return history.Point{Ord: m.ord, Index: m.cursor.Index, Check: m.cursor.Check}
}

// messageCharge is the memory of a message in addition to its frame, in bytes.
const messageCharge = 104

// A messagePage holds messages of a channel that follow each other. It does not
// change, and all resumes share it.
type messagePage struct {
	pagecache.Page
	messages []message
}

// after returns the index of the first message after a point. The page may begin
// with messages that the history has dropped since.
func (p *messagePage) after(from history.Point) int {
	i, _ := slices.BinarySearchFunc(p.messages, from, func(m message, from history.Point) int {
		if from.Before(m.point()) {
			return 1
		}
		return -1
	})
	return i
}

// charge returns the memory of the page in bytes.
func (p *messagePage) charge() (n int) {
	for i := range p.messages {
		n += len(p.messages[i].frame) + messageCharge
	}
	return n
}

// A messageKey identifies a page of the history, in one protocol.
type messageKey struct {
	end      uint64 // offset of the next page's first message; if open, of this page's last one
	open     bool   // the history may still add messages to this run; then it gets another key
	protocol protocol.ID
}

// messagePages are the pages of live channels that are in the cache.
type messagePages struct {
	cache *pagecache.Cache
	index map[messageKey]*messagePage // guarded by the cache's lock
}

// find returns a page, or nil if it is not in the cache.
func (m *messagePages) find(key messageKey) *messagePage {
	m.cache.Lock()
	defer m.cache.Unlock()
	p := m.index[key]
	if p == nil {
		m.cache.Miss()
		return nil
	}
	m.cache.Use(&p.Page)
	return p
}

// add adds a page to the cache, unless another goroutine has done so, and
// returns the one that is there.
func (m *messagePages) add(key messageKey, p *messagePage) *messagePage {
	m.cache.Lock()
	defer m.cache.Unlock()
	if other := m.index[key]; other != nil {
		return other
	}
	m.index[key] = p
	m.cache.Add(&p.Page, p.charge(), func() { delete(m.index, key) })
	return p
}

// A messageCopy holds messages as they are in the history, so that they can be
// encoded without the hub's lock.
type messageCopy struct {
	list     []copiedMessage
	payloads []byte
}

type copiedMessage struct {
	offset uint64
	entry  history.Entry
	cursor history.Cursor
	end    int // of the payload, in messageCopy.payloads
}

// size returns what the messages count for, as in copyMessages.
func (c *messageCopy) size() int { return len(c.payloads) + len(c.list)*outbox.FrameCharge }

// copyMessages copies the messages of a channel from an offset to before end,
// or to the newest one if end is 0. whole is false if they exceed limit bytes,
// including the charge of their frames; then not all were copied.
func copyMessages(h *history.History[fanout], offset, end uint64, limit int) (c messageCopy, whole bool) {
	for offset != 0 && offset != end {
		e := h.Entry(offset)
		if limit -= int(e.Size) + outbox.FrameCharge; limit < 0 {
			return c, false
		}
		c.payloads = h.Payload(c.payloads, offset, e)
		c.list = append(c.list, copiedMessage{offset, e, h.Cursor(e.Point), len(c.payloads)})
		offset = h.Next(offset, e)
	}
	return c, true
}

// isByClient reports whether a client has sent a message.
func isByClient(payload []byte) bool {
	e, ok := protocol.ParseEnvelope(payload)
	return ok && e.IsClientEvent()
}

// encode encodes messages of a subscription's channel for its protocol.
func (h *Hub) encode(c messageCopy, sub *Subscription) *messagePage {
	p, name, begin := sub.session.protocol, sub.channel.Name(), 0
	page := &messagePage{messages: make([]message, len(c.list))}
	for i, m := range c.list {
		payload := c.payloads[begin:m.end]
		begin = m.end
		cursor, _ := m.cursor.AppendText(nil) // never fails
		to := &page.messages[i]
		*to = message{offset: m.offset, ord: m.entry.Ord, cursor: m.cursor, large: m.entry.Empty}
		if to.large {
			to.frame = p.Event(protocol.Event{Type: protocol.EventGap, Channel: name, Reason: protocol.GapTooLarge, Cursor: cursor})
		} else {
			to.hash = h.hash(payload)
			to.frame = p.Message(name, cursor, payload)
			if h.cfg.Access.App != nil {
				to.socket = socketOf(payload)
			}
			to.byClient = p.ID() == protocol.PusherID && isByClient(payload)
		}
	}
	return page
}
