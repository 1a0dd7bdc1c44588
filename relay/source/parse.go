package source

import "sidecast/relay/source/resp"

// maxPassed bounds the strings of a reply that goes to go-redis, which holds it
// in memory.
const maxPassed = 1 << 20

// The beginnings of replies that the connection looks for. RESP2 sends them as
// arrays and RESP3 as pushes, which differ in the first byte only.
const (
	pmessageHead = "4\r\n$8\r\npmessage\r\n" // after the first byte
	maxKindLen   = 16                        // longer than the kind of any pub/sub reply
)

// process parses the buffer. It delivers messages and markers to the sink, and
// copies at most one reply for go-redis, or a part of one, to p. It returns 0
// when it needs more bytes.
func (c *pubsubConn) process(p []byte) (int, error) {
	for {
		b := c.buf[c.r:c.w]
		if len(b) == 0 {
			return 0, nil
		}
		switch {
		case c.passBytes > 0:
			n := copy(p, b[:c.passBytes])
			c.r += n
			c.passBytes -= n
			return n, nil
		case c.dropBytes > 0:
			n := min(c.dropBytes, len(b))
			c.r += n
			c.dropBytes -= n
		case c.skipper.Active():
			n, err := c.skipper.Skip(b)
			if n == 0 || err != nil {
				return 0, err
			}
			if c.discard {
				c.r += n
			} else {
				c.passBytes = n
			}
		default:
			done, err := c.parseReply(b)
			if !done || err != nil {
				return 0, err
			}
		}
	}
}

// parseReply handles the reply at the beginning of b, or arranges that its
// bytes are passed on or dropped. It returns false when it needs more bytes to
// decide.
func (c *pubsubConn) parseReply(b []byte) (bool, error) {
	switch b[0] {
	case '*', '>':
		if c.subs.anyConfirmed && len(b) > len(pmessageHead) && string(b[1:1+len(pmessageHead)]) == pmessageHead {
			return c.parsePMessage(b)
		}
		return c.parseArray(b)
	case '-':
		return c.parseError(b)
	case '$':
		return c.parseBulk(b)
	case '|':
		return c.parseAttribute(b)
	}
	return c.passReply()
}

// incomplete turns a negative index of package resp into the results of
// parseReply.
func incomplete(i int) (bool, error) {
	if i == resp.Bad {
		return false, resp.ErrMalformed
	}
	return false, nil
}

// passReply passes the next reply on to go-redis.
func (c *pubsubConn) passReply() (bool, error) {
	c.skipper.Start(1, maxPassed)
	c.discard = false
	return true, nil
}

// discardValues drops the values at b[i:], which are the last ones of a reply.
func (c *pubsubConn) discardValues(i, values int) (bool, error) {
	c.r += i
	c.skipper.Start(values, resp.MaxBulk)
	c.discard = true
	return true, nil
}

// parsePMessage delivers a message that a pattern matched: kind, pattern,
// channel, payload. It drops messages that arrive before the epoch begins,
// because clients are notified of a gap for that time.
func (c *pubsubConn) parsePMessage(b []byte) (bool, error) {
	if !c.live {
		return c.discardValues(0, 1)
	}
	f := c.link.filter
	pattern, i := resp.Bulk(b, 1+len(pmessageHead), f.longestPattern)
	if i < 0 {
		return incomplete(i)
	}
	size, at := resp.BulkLen(b, i)
	if at < 0 {
		return incomplete(at)
	}
	if size > f.longestName {
		f.countLongName()
		return c.discardValues(i, 2)
	}
	name, i := resp.Text(b, size, at)
	if i < 0 {
		return incomplete(i)
	}
	if size, at = resp.BulkLen(b, i); at < 0 {
		return incomplete(at)
	}
	if size > c.link.cfg.MaxPayload {
		return true, c.dropOversize(pattern, name, at+size+2)
	}
	payload, end := resp.Text(b, size, at)
	if end < 0 {
		return incomplete(end)
	}
	c.r += end
	channel, ok, err := f.admit(pattern, name)
	switch {
	case !ok:
	case f.isDurable(channel):
		c.link.nudgeSink.Nudge(channel, len(payload) > 0)
	default:
		c.unflushed = true
		c.link.sink.Publish(channel, payload)
	}
	return true, err
}

// dropOversize drops a message of size bytes without reading its payload, and
// reports it to the sink.
func (c *pubsubConn) dropOversize(pattern, name []byte, size int) error {
	c.dropBytes = size
	channel, ok, err := c.link.filter.admit(pattern, name)
	switch {
	case !ok:
	case c.link.filter.isDurable(channel):
		c.link.nudgeSink.Nudge(channel, true)
	default:
		c.link.filter.countOversize()
		c.unflushed = true
		c.link.sink.Oversize(channel)
	}
	return err
}

// parseArray handles the arrays and pushes other than messages that a pattern
// matched.
func (c *pubsubConn) parseArray(b []byte) (bool, error) {
	end, err := resp.LineEnd(b)
	if end == 0 || err != nil {
		return false, err
	}
	count, err := resp.Length(b[1:end-2], resp.MaxCount)
	if err != nil {
		return false, err
	}
	if count < 2 || count > 4 {
		return c.passReply()
	}
	if len(b) == end {
		return false, nil
	}
	if b[end] != '$' {
		return c.passReply()
	}
	if size, at := resp.BulkLen(b, end); at < 0 {
		return incomplete(at)
	} else if size > maxKindLen {
		return c.passReply()
	}
	kind, i := resp.Bulk(b, end, maxKindLen)
	if i < 0 {
		return incomplete(i)
	}
	return c.parseKind(b, string(kind), count, i)
}

// parseKind handles a reply of count values by its kind. The values after the
// kind begin at b[i:].
func (c *pubsubConn) parseKind(b []byte, kind string, count, i int) (bool, error) {
	switch {
	case (kind == "subscribe" || kind == "psubscribe") && count == 3:
		return c.parseConfirmation(b, kind, i)
	case kind == "message" && count == 3 && c.subs.anyConfirmed:
		return c.parseMessage(b, i)
	case kind == "pong" && count == 2 && c.live:
		return c.parsePong(b, i)
	}
	return c.passReply()
}

// parseMessage delivers a message on a channel that the link subscribes to by
// its exact name: a marker, or a message for a service. Its name begins at b[i:].
func (c *pubsubConn) parseMessage(b []byte, i int) (bool, error) {
	if size, at := resp.BulkLen(b, i); at < 0 {
		return incomplete(at)
	} else if size > c.subs.maxNameLen {
		return c.passReply()
	}
	name, at := resp.Bulk(b, i, c.subs.maxNameLen)
	if at < 0 {
		return incomplete(at)
	}
	if f := c.link.filter; f.marker != "" && string(name) == f.marker {
		return c.parseMarkerMessage(b, at)
	}
	if s := c.link.service(name); s != nil {
		return c.parseServiceMessage(s, b, at)
	}
	return c.passReply()
}

// parseMarkerMessage delivers a marker, which begins at b[at:].
func (c *pubsubConn) parseMarkerMessage(b []byte, at int) (bool, error) {
	if !c.live {
		return c.discardValues(0, 1)
	}
	if size, next := resp.BulkLen(b, at); next < 0 {
		return incomplete(next)
	} else if size > maxMarker {
		return c.discardValues(at, 1)
	}
	payload, end := resp.Bulk(b, at, maxMarker)
	if end < 0 {
		return incomplete(end)
	}
	c.r += end
	if m, ok := parseMarker(payload); ok {
		c.link.probe.received(m)
		c.unflushed = true
		c.link.sink.Marker(m.id[:])
	}
	return true, nil
}

// parseConfirmation records that Redis confirmed a subscription, which may
// begin the epoch, and passes the reply on.
func (c *pubsubConn) parseConfirmation(b []byte, kind string, i int) (bool, error) {
	size, at := resp.BulkLen(b, i)
	if at < 0 {
		return incomplete(at)
	}
	if size > c.subs.maxNameLen {
		return c.passReply() // not one of the link's subscriptions
	}
	name, at := resp.Bulk(b, i, c.subs.maxNameLen)
	if at < 0 {
		return incomplete(at)
	}
	end, err := resp.LineEnd(b[at:]) // the number of subscriptions
	if end == 0 || err != nil {
		return false, err
	}
	if kind == "subscribe" && c.link.service(name) != nil {
		c.r += at + end // go-redis does not know this subscription
	} else {
		c.passBytes = at + end
	}
	if c.subs.confirm(kind, name) {
		return true, c.beginEpoch()
	}
	return true, nil
}

// beginEpoch begins the epoch, unless a service cannot be prepared for it.
func (c *pubsubConn) beginEpoch() error {
	if err := c.link.prepare(); err != nil {
		return err
	}
	c.live, c.unflushed = true, true
	c.epochRunning.Store(true)
	c.link.beginEpoch(c, c.subs.markerConfirmed)
	return nil
}

// parseError handles every error reply itself, because go-redis would return it
// from Receive and keep the connection. Before the epoch an error reply answers
// a subscription: one of a service or the one to the marker channel if that is
// not answered yet, because they are sent first, in this order. Within the
// epoch it can only answer one of the connection's PINGs, and then it counts as
// a PONG.
func (c *pubsubConn) parseError(b []byte) (bool, error) {
	end, err := resp.LineEnd(b)
	if end == 0 || err != nil {
		return false, err
	}
	text := string(b[1 : end-2])
	switch {
	case c.live && c.ponged.Load() < c.pinged.Load():
		c.r += end
		c.ponged.Add(1) // answers arrive in order
		c.deliverGap()
		c.link.barrier.ponged(c)
		c.link.reporter.pingRefused(text)
		return true, nil
	case c.live:
		return false, &replyError{text}
	case c.subs.awaitsService() && isDenied(text):
		c.link.reporter.serviceDenied(c.subs.withoutService(), text)
		c.r += end
		return true, nil
	case c.subs.awaitsMarker() && isDenied(text):
		c.link.reporter.markerSubscriptionDenied(text)
		c.r += end
		if c.subs.withoutMarker() {
			return true, c.beginEpoch()
		}
		return true, nil
	case isDenied(text):
		return false, &deniedError{text}
	}
	return false, &replyError{text}
}

// parseAttribute passes on the attributes that RESP3 may send before a reply.
// The reply itself is parsed next.
func (c *pubsubConn) parseAttribute(b []byte) (bool, error) {
	end, err := resp.LineEnd(b)
	if end == 0 || err != nil {
		return false, err
	}
	pairs, err := resp.Length(b[1:end-2], resp.MaxCount)
	if err != nil || pairs < 0 {
		return false, resp.ErrMalformed
	}
	c.passBytes = end
	c.skipper.Start(2*pairs, maxPassed)
	c.discard = false
	return true, nil
}
