package stream

import (
	"sync/atomic"

	"sidecast/relay/protocol"
)

// heldCharge is the memory that a kept entry uses in addition to its payload
// and to frames of the payload's size.
const heldCharge = 256

// A Held is an entry that is kept in memory, together with the frames that were
// made from it. It may be used concurrently.
type Held struct {
	Entry
	frames [protocol.NumProtocols]atomic.Pointer[[]byte]
}

func newHeld(entries []Entry) []*Held {
	held := make([]*Held, len(entries))
	for i := range entries {
		held[i] = &Held{Entry: entries[i]}
	}
	return held
}

// Frame returns the frame that clients of the protocol receive for the entry:
// the message, or a gap if the entry is too large.
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
	if len(frame) <= 2*len(e.Payload)+heldCharge/2 { // JSON can be six times as long as its payload: such a frame is not kept
		slot.Store(&frame)
	}
	return frame
}

// charge returns the memory that the entry counts for, in bytes: the payload,
// raw's frame, and a frame for each other protocol that may be twice as long.
func (e *Held) charge() int { return 2*int(protocol.NumProtocols)*len(e.Payload) + heldCharge }
