package stream

import "sidecast/relay/protocol"

// A Seq numbers the items of durable channels, over all of them together, from
// 1. It has no relation to the Seq of package history.
type Seq uint64

// An Audience is the number of a channel's subscribers by protocol, and how
// many of them may have to skip an entry because they added it.
type Audience struct {
	Protocols [protocol.NumProtocols]int32
	Echoes    int32
}

// A Sink receives the entries of one stream from its reader. The reader calls
// its methods once for each page, never concurrently.
type Sink interface {
	// Number reserves n consecutive numbers and returns the first, and the
	// audience at that moment. ok is false if the channel has no subscribers
	// any more; then nothing is reserved. It is called with the reader locked.
	Number(n int) (first Seq, to Audience, ok bool)
	// Deliver delivers entries with consecutive numbers from first on. It may
	// wait for space in a queue.
	Deliver(first Seq, entries []*Held, to Audience)
	// Gap delivers a gap under the number seq. last is the number of the item
	// before it. at is the cursor of the place after it, in wire form; it is nil
	// if entries follow the gap.
	Gap(seq, last Seq, why protocol.GapReason, at []byte)
}
