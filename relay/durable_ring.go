package relay

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
type heldEntry struct {
	Entry
	frames [protocol.NumProtocols]atomic.Pointer[[]byte]
}

// frame returns the entry as a client of the protocol gets it: the message, or the gap in its place.
func (e *heldEntry) frame(p protocol.Protocol, channel string) []byte {
	slot := &e.frames[p.ID()]
	if frame := slot.Load(); frame != nil {
		return *frame
	}
	var frame []byte
	if e.TooLarge {
		frame = p.Event(protocol.Event{Type: protocol.EventGap, Channel: channel, Reason: protocol.GapTooLarge, Cursor: e.text()})
	} else {
		frame = p.Message(channel, e.text(), e.Payload)
	}
	if len(frame) <= 2*len(e.Payload)+heldCharge/2 { // JSON can be six times as long as what it says
		slot.Store(&frame)
	}
	return frame
}

// charge counts the payload and a frame for each protocol, one of which may be twice as long.
func (e *heldEntry) charge() int { return (2+int(protocol.NumProtocols))*len(e.Payload) + heldCharge }

func hold(entries []Entry) []*heldEntry {
	held := make([]*heldEntry, len(entries))
	for i := range entries {
		held[i] = &heldEntry{Entry: entries[i]}
	}
	return held
}

// keepLocked appends to the ring and lets its front go where it grows too large.
func (d *durable) keepLocked(entries []*heldEntry) {
	if d.gone {
		return
	}
	d.ring = append(d.ring, entries...)
	for _, e := range entries {
		d.chargeLocked(e.charge())
	}
	d.limit = nextLimit(d.limit, entries)
	d.trimLocked()
}

func (d *durable) chargeLocked(n int) {
	d.bytes += n
	d.all.bytes.Add(n)
}

// trimLocked holds the bounds: the channel's, and, at its cost, that of all together.
func (d *durable) trimLocked() {
	gone, excess := 0, max(d.bytes-d.all.ringBytes, int(d.all.bytes.Load()-d.all.ringsBytes))
	for gone < len(d.ring) && excess > 0 {
		excess -= d.ring[gone].charge()
		gone++
	}
	d.dropLocked(gone)
}

// dropLocked lets the first n entries of the ring go.
func (d *durable) dropLocked(n int) {
	for i, e := range d.ring[:n] {
		d.chargeLocked(-e.charge())
		d.base = e.StreamCursor
		d.ring[i] = nil
	}
	if d.ring = d.ring[n:]; len(d.ring) == 0 {
		d.ring = nil
	}
}

// nextLimit is how many entries to read next so that they make about streamPageBytes.
func nextLimit(limit int, page []*heldEntry) int {
	if len(page) == 0 {
		return limit
	}
	bytes := 0
	for _, e := range page {
		bytes += len(e.Payload) + 64
	}
	fit := streamPageBytes / (bytes/len(page) + 1)
	return min(max(fit, streamPageMin), 2*limit, streamPageMax)
}
