package source

import (
	"errors"
	"strconv"
	"strings"
)

// The heads of replies that the tap looks for. RESP2 sends them as arrays and RESP3 as pushes, which differ in the first
// byte only.
const (
	pmessageHead = "4\r\n$8\r\npmessage\r\n" // behind the first byte
	longestKind  = 16                        // more than any kind of pub/sub reply has
)

// step goes through the buffer: it hands over what is the sink's, and copies to p at most one reply, or a part of one,
// that is go-redis's. It returns 0 when it needs more bytes.
func (t *tap) step(p []byte) (int, error) {
	for {
		b := t.buf[t.r:t.w]
		if len(b) == 0 {
			return 0, nil
		}
		switch {
		case t.pass > 0:
			n := copy(p, b[:t.pass])
			t.r += n
			t.pass -= n
			return n, nil
		case t.drop > 0:
			n := min(t.drop, len(b))
			t.r += n
			t.drop -= n
		case t.skip.open():
			n, err := t.skip.walk(b)
			if n == 0 || err != nil {
				return 0, err
			}
			if t.discard {
				t.r += n
			} else {
				t.pass = n
			}
		default:
			done, err := t.frame(b)
			if !done || err != nil {
				return 0, err
			}
		}
	}
}

// frame looks at the reply that b begins with, and either takes it or says how to get over it. It returns false when it
// needs more bytes to tell.
func (t *tap) frame(b []byte) (bool, error) {
	switch b[0] {
	case '*', '>':
		if t.subs.begun && len(b) > len(pmessageHead) && string(b[1:1+len(pmessageHead)]) == pmessageHead {
			return t.pmessage(b)
		}
		return t.array(b)
	case '-':
		return t.refusal(b)
	case '$':
		return t.bulkReply(b)
	case '|':
		return t.attribute(b)
	}
	return t.passReply()
}

// passReply leaves the next reply to go-redis.
func (t *tap) passReply() (bool, error) {
	t.skip.start(1, maxPassed)
	t.discard = false
	return true, nil
}

// discardValues throws away the values at b[i:], which end a reply.
func (t *tap) discardValues(i, values int) (bool, error) {
	t.r += i
	t.skip.start(values, maxBulk)
	t.discard = true
	return true, nil
}

// pmessage takes a message that came by a pattern: kind, pattern, channel, payload. One that comes before the epoch is
// thrown away: clients will be told that they may have missed it.
func (t *tap) pmessage(b []byte) (bool, error) {
	if !t.live {
		return t.discardValues(0, 1)
	}
	f := t.link.filter
	pattern, i := bulk(b, 1+len(pmessageHead), f.longestPattern)
	if i < 0 {
		return more(i)
	}
	size, at := bulkLen(b, i)
	if at < 0 {
		return more(at)
	}
	if size > f.longestName {
		f.longName()
		return t.discardValues(i, 2)
	}
	name, i := text(b, size, at)
	if i < 0 {
		return more(i)
	}
	if size, at = bulkLen(b, i); at < 0 {
		return more(at)
	}
	if size > t.link.cfg.MaxPayload {
		return true, t.oversize(pattern, name, at+size+2)
	}
	payload, end := text(b, size, at)
	if end < 0 {
		return more(end)
	}
	t.r += end
	channel, ok, err := f.admit(pattern, name)
	switch {
	case !ok:
	case f.isDurable(channel):
		t.link.nudged.Nudge(channel, len(payload) > 0)
	default:
		t.dirty = true
		t.link.sink.Publish(channel, payload)
	}
	return true, err
}

// oversize reports a message of so many bytes, whose payload is not even read.
func (t *tap) oversize(pattern, name []byte, size int) error {
	t.drop = size
	channel, ok, err := t.link.filter.admit(pattern, name)
	switch {
	case !ok:
	case t.link.filter.isDurable(channel):
		t.link.nudged.Nudge(channel, true)
	default:
		t.link.filter.oversize()
		t.dirty = true
		t.link.sink.Oversize(channel)
	}
	return err
}

// array looks at arrays and pushes that are no ordinary message.
func (t *tap) array(b []byte) (bool, error) {
	end, err := lineEnd(b)
	if end == 0 || err != nil {
		return false, err
	}
	count, err := length(b[1:end-2], maxCount)
	if err != nil {
		return false, err
	}
	if count < 2 || count > 4 {
		return t.passReply()
	}
	if len(b) == end {
		return false, nil
	}
	if b[end] != '$' {
		return t.passReply()
	}
	if size, at := bulkLen(b, end); at < 0 {
		return more(at)
	} else if size > longestKind {
		return t.passReply()
	}
	kind, i := bulk(b, end, longestKind)
	if i < 0 {
		return more(i)
	}
	return t.reply(b, string(kind), count, i)
}

// reply sorts a reply of so many values by its kind, behind which is b[i:].
func (t *tap) reply(b []byte, kind string, count, i int) (bool, error) {
	switch {
	case (kind == "subscribe" || kind == "psubscribe") && count == 3:
		return t.confirmation(b, kind, i)
	case kind == "message" && count == 3 && t.subs.begun:
		return t.message(b, i)
	case kind == "pong" && count == 2 && t.live:
		return t.pong(b, i)
	}
	return t.passReply()
}

// message takes a marker: the service channel is the only one that the link subscribes to by its exact name.
func (t *tap) message(b []byte, i int) (bool, error) {
	f := t.link.filter
	if size, at := bulkLen(b, i); at < 0 {
		return more(at)
	} else if size != len(f.marker) {
		return t.passReply()
	}
	name, at := bulk(b, i, len(f.marker))
	if at < 0 {
		return more(at)
	}
	if string(name) != f.marker {
		return t.passReply()
	}
	if !t.live {
		return t.discardValues(0, 1)
	}
	if size, next := bulkLen(b, at); next < 0 {
		return more(next)
	} else if size > maxMarker {
		return t.discardValues(at, 1)
	}
	payload, end := bulk(b, at, maxMarker)
	if end < 0 {
		return more(end)
	}
	t.r += end
	if m, ok := parseMarker(payload); ok {
		t.link.probe.heard(m)
		t.dirty = true
		t.link.sink.Marker(m.id[:])
	}
	return true, nil
}

// confirmation notes that Redis took a subscription, which may begin the epoch, and passes the reply on.
func (t *tap) confirmation(b []byte, kind string, i int) (bool, error) {
	size, at := bulkLen(b, i)
	if at < 0 {
		return more(at)
	}
	if size > t.subs.longest {
		return t.passReply() // none of ours
	}
	name, at := bulk(b, i, t.subs.longest)
	if at < 0 {
		return more(at)
	}
	end, err := lineEnd(b[at:]) // the count of subscriptions
	if end == 0 || err != nil {
		return false, err
	}
	t.pass = at + end
	if t.subs.confirm(kind, name) {
		t.begin()
	}
	return true, nil
}

// begin begins the epoch.
func (t *tap) begin() {
	t.live, t.dirty = true, true
	t.epoch.Store(true)
	t.link.online(t, t.subs.heard)
}

// refusal takes every error reply: go-redis would return it from Receive and keep the conn. Before the epoch it answers
// a subscription, that to the markers if none is confirmed, because it is sent first. Within the epoch only a PING of
// ours can be answered so, and then it is as good as a PONG.
func (t *tap) refusal(b []byte) (bool, error) {
	end, err := lineEnd(b)
	if end == 0 || err != nil {
		return false, err
	}
	text := string(b[1 : end-2])
	switch {
	case t.live && t.ponged.Load() < t.pinged.Load():
		t.r += end
		t.ponged.Add(1) // answers come in order
		t.link.barrier.ponged(t)
		t.link.warned.ping.Do(func() { t.link.warnPing(text) })
		return true, nil
	case t.live:
		return false, errors.New(text)
	case t.subs.awaitsMarker() && isDenied(text):
		t.link.warned.subscribe.Do(func() { t.link.warnSubscribe(text) })
		t.r += end
		if t.subs.withoutMarker() {
			t.begin()
		}
		return true, nil
	case isDenied(text):
		return false, &deniedError{text}
	}
	return false, &replyError{text}
}

// bulkReply takes RESP3's answer to a PING of ours.
func (t *tap) bulkReply(b []byte) (bool, error) {
	if size, at := bulkLen(b, 0); at < 0 {
		if at == bad {
			return t.passReply() // null, or for the walker to refuse
		}
		return false, nil
	} else if size != nonceLen || !t.live {
		return t.passReply()
	}
	nonce, end := bulk(b, 0, nonceLen)
	if end < 0 {
		return more(end)
	}
	if !t.takePong(nonce) {
		return t.passReply()
	}
	t.r += end
	return true, nil
}

// pong takes RESP2's answer to a PING of ours.
func (t *tap) pong(b []byte, i int) (bool, error) {
	if size, at := bulkLen(b, i); at < 0 {
		return more(at)
	} else if size != nonceLen {
		return t.passReply()
	}
	nonce, end := bulk(b, i, nonceLen)
	if end < 0 {
		return more(end)
	}
	if !t.takePong(nonce) {
		return t.passReply()
	}
	t.r += end
	return true, nil
}

// attribute passes what RESP3 may put before a reply on, and leaves the reply itself to the next frame.
func (t *tap) attribute(b []byte) (bool, error) {
	end, err := lineEnd(b)
	if end == 0 || err != nil {
		return false, err
	}
	pairs, err := length(b[1:end-2], maxCount)
	if err != nil || pairs < 0 {
		return false, errMalformed
	}
	t.pass = end
	t.skip.start(2*pairs, maxPassed)
	t.discard = false
	return true, nil
}

// nonceLen is the length of what our PINGs carry: "sidecast" and 16 hex digits of their sequence.
const (
	noncePrefix = "sidecast"
	nonceLen    = len(noncePrefix) + 16
)

// takePong notes the answer to a PING of ours, and reports whether it is one.
func (t *tap) takePong(nonce []byte) bool {
	digits, ok := strings.CutPrefix(string(nonce), noncePrefix)
	if !ok {
		return false
	}
	seq, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || seq > t.pinged.Load() || seq <= t.ponged.Load() {
		return false
	}
	t.ponged.Store(seq)
	t.link.barrier.ponged(t)
	return true
}
