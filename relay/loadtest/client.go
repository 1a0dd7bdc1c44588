package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
)

// A phase is where a client stands.
type phase uint8

const (
	away    phase = iota // not connected
	dialing              // somebody connects it
	served               // hears its channel
	gone                 // was told never to return
)

// A link is a client's connection as it writes to it. Writing does not wait.
type link interface {
	write(b []byte)
	close()
}

// A client hears one channel over one connection, and checks what it hears.
type client struct {
	// Static.
	id      int32
	slow    bool
	channel *channel
	shard   *shard
	course  *course

	// Guarded by shard.mu.
	phase      phase
	generation int32 // grows with every end of a connection, so that its reader notices
	link       link
	ready      bool // the relay has confirmed the channel
	carry      []byte
	ledger     ledger
	code       int // of the relay's close frame
}

const (
	noStatus  = 1005 // a close frame without a code
	abnormal  = 1006 // an end without a close frame
	smallSize = 4 << 10
)

// Codes that a client is closed with by rights: by these it knows that it missed something.
var toldCodes = map[int]bool{1000: true, 1001: true, 1012: true, 1013: true, 4408: true, 4410: true}

// Codes after which a client does not return.
var finalCodes = map[int]bool{1002: true, 1007: true, 1008: true, 1009: true, 4401: true, 4403: true, 4409: true}

const codeSlow = 4408

// errClosed ends a connection whose close frame came.
var errClosed = errors.New("the relay closed the connection")

// begin makes the client ready for a new connection. It is called with shard.mu held.
func (c *client) begin(l link) {
	c.link, c.ready, c.carry, c.code = l, false, nil, 0
	c.ledger = ledger{}
}

// confirm notes that from now on everything must be heard. It is called with shard.mu held.
func (c *client) confirm() {
	c.ready = true
	c.ledger.floor = c.channel.started.Load()
}

// feed takes bytes from the relay, read at now on the run's clock. An error means that the connection has to end. It is
// called with shard.mu held.
func (c *client) feed(b []byte, now int64) error {
	if len(c.carry) > 0 {
		c.carry = append(c.carry, b...)
		b = c.carry
	}
	for {
		f, size, err := nextFrame(b)
		if err != nil {
			c.shard.tally.faults++
			return err
		}
		if size == 0 {
			break
		}
		b = b[size:]
		if err := c.handle(f, now); err != nil {
			return err
		}
	}
	switch {
	case len(b) == 0 && cap(c.carry) > smallSize:
		c.carry = nil
	case len(b) <= smallSize && cap(c.carry) > smallSize:
		c.carry = bytes.Clone(b)
	case len(b) > 0 || len(c.carry) > 0:
		c.carry = append(c.carry[:0], b...)
	}
	return nil
}

func (c *client) handle(f frame, now int64) error {
	switch f.opcode {
	case opPing:
		c.link.write(maskedFrame(make([]byte, 0, 6+len(f.payload)), opPong, f.payload))
	case opPong:
	case opClose:
		if c.code = noStatus; len(f.payload) >= 2 {
			c.code = int(binary.BigEndian.Uint16(f.payload))
		}
		return errClosed
	default:
		if c.course.protocol == protocolV1 {
			return c.handleV1(f.payload, now)
		}
		c.deliver(f.payload, now)
	}
	return nil
}

func (c *client) handleV1(b []byte, now int64) error {
	if channel, payload, ok := v1Message(b); ok {
		c.deliverOn(string(channel), payload, now)
		return nil
	}
	t := c.shard.tally
	f, err := readV1(b)
	if err != nil {
		t.faults++
		return fmt.Errorf("reading sidecast.v1: %w", err)
	}
	switch f.Type {
	case "message":
		c.deliverOn(f.Channel, f.payload(), now)
	case "subscribed":
		if f.Channel == c.channel.name && !c.ready {
			c.confirm()
		}
	case "gap":
		t.gaps[f.Reason]++
		if f.Channel == "" || f.Channel == c.channel.name {
			c.ledger.told = true
		}
	case "offline":
		t.offline++
	case "error":
		return refusal("error " + f.Code)
	}
	return nil
}

func (c *client) deliverOn(channel string, payload []byte, now int64) {
	if channel != c.channel.name {
		c.shard.tally.leaked++
		return
	}
	c.deliver(payload, now)
}

// deliver checks one payload.
func (c *client) deliver(payload []byte, now int64) {
	t := c.shard.tally
	s, err := readStamp(payload)
	switch {
	case err != nil:
		t.corrupted++
		return
	case s.run != c.course.id:
		t.foreign++
		return
	case s.channel != c.channel.index:
		t.leaked++
		return
	}
	t.bytes += uint64(len(payload))
	if c.slow {
		t.slowDeliveries++
	} else {
		t.deliveries++
		if c.course.window.holds(s.sent) {
			t.latency.record(now - s.sent)
			t.lastMeasured = now
		}
	}
	if s.sequence <= c.ledger.last && c.channel.doubted(hole{first: s.sequence, last: s.sequence}) > 0 {
		return // sent twice, perhaps: nobody knows
	}
	v, h := c.ledger.hear(s.sequence)
	t.note(v, h.excused, c.channel.missing(h))
}

// end notes that the relay ended the connection. It is called with shard.mu held.
func (c *client) end() {
	t := c.shard.tally
	if c.code == 0 {
		c.code = abnormal
	}
	t.closed++
	t.closes[c.code]++
	missed := c.channel.missing(c.ledger.tail(c.channel.started.Load()))
	switch {
	case c.slow && (c.code == codeSlow || c.code == abnormal):
		t.evicted++
		t.missedEvicted += missed
	case toldCodes[c.code]:
		t.missedClosed += missed
		if c.code == codeSlow {
			t.overrun++
		}
	default:
		t.broken++
		t.missedClosed += missed
	}
	final := finalCodes[c.code]
	c.leave()
	if final {
		c.phase = gone
	}
}

// leave closes the connection. It is called with shard.mu held.
func (c *client) leave() {
	c.generation++
	c.phase = away
	c.carry = nil
	if c.link != nil {
		c.link.close()
		c.link = nil
	}
}

// settle counts what the client should have heard and did not, when nothing more will come. It is called with shard.mu
// held.
func (c *client) settle() {
	if c.phase != served {
		return
	}
	h := c.ledger.tail(c.channel.started.Load())
	c.shard.tally.miss(h.excused, c.channel.missing(h))
}

// waits reports whether something should come yet. It is called with shard.mu held.
func (c *client) waits() bool {
	return c.phase == served && c.channel.missing(c.ledger.tail(c.channel.started.Load())) > 0
}
