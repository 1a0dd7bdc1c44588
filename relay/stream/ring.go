package stream

import (
	"sync/atomic"

	"sidecast/relay/protocol"
)

const (
	// ringBytes is how much of one channel is kept for clients that come back, and ringsBytes of all channels together.
	ringBytes  = 1 << 20
	ringsBytes = 64 << 20
	// heldCharge is what a kept entry costs beside its payload and what its frames are long beyond that.
	heldCharge = 256
)

// A heldEntry is an entry that is kept, with the frames that were made of it.
type Held struct {
	Entry
	frames [protocol.NumProtocols]atomic.Pointer[[]byte]
}

// frame returns the entry as a client of the protocol gets it: the message, or the gap in its place.
func (e *Held) Frame(p protocol.Protocol, channel string) []byte {
	slot := &e.frames[p.ID()]
	if frame := slot.Load(); frame != nil {
		return *frame
	}
	var frame []byte
	if e.TooLarge {
		frame = p.Event(protocol.Event{Type: protocol.EventGap, Channel: channel, Reason: protocol.GapTooLarge, Cursor: e.Text()})
	} else {
		frame = p.Message(channel, e.Text(), e.Payload)
	}
	if len(frame) <= 2*len(e.Payload)+heldCharge/2 { // JSON can be six times as long as what it says
		slot.Store(&frame)
	}
	return frame
}

// charge counts the payload and a frame for each protocol, one of which may be twice as long.
func (e *Held) charge() int { return (2+int(protocol.NumProtocols))*len(e.Payload) + heldCharge }

func holdEntries(entries []Entry) []*Held {
	held := make([]*Held, len(entries))
	for i := range entries {
		held[i] = &Held{Entry: entries[i]}
	}
	return held
}

// keepLocked appends to the ring and lets its front go where it grows too large.
func (r *Reader) keepLocked(entries []*Held) {
	if r.removed {
		return
	}
	r.ring = append(r.ring, entries...)
	for _, e := range entries {
		r.chargeLocked(e.charge())
	}
	r.limit = nextLimit(r.limit, entries)
	r.trimLocked()
}

func (r *Reader) chargeLocked(n int) {
	r.bytes += n
	r.readers.bytes.Add(n)
}

// trimLocked holds the bounds: the channel's, and, at its cost, that of all together.
func (r *Reader) trimLocked() {
	gone, excess := 0, max(r.bytes-r.readers.ringBytes, int(r.readers.bytes.Load()-r.readers.ringsBytes))
	for gone < len(r.ring) && excess > 0 {
		excess -= r.ring[gone].charge()
		gone++
	}
	r.dropLocked(gone)
}

// dropLocked lets the first n entries of the ring go.
func (r *Reader) dropLocked(n int) {
	for i, e := range r.ring[:n] {
		r.chargeLocked(-e.charge())
		r.base = e.Cursor
		r.ring[i] = nil
	}
	if r.ring = r.ring[n:]; len(r.ring) == 0 {
		r.ring = nil
	}
}

// nextLimit is how many entries to read next so that they make about streamPageBytes.
func nextLimit(limit int, page []*Held) int {
	if len(page) == 0 {
		return limit
	}
	bytes := 0
	for _, e := range page {
		bytes += len(e.Payload) + 64
	}
	fit := pageBytes / (bytes/len(page) + 1)
	return min(max(fit, pageMin), 2*limit, pageMax)
}
