package history

import (
	"strings"
	"unsafe"
)

// A Channel is the memory of one channel that has subscribers, or had a message
// lately.
//
// With thousands of channels a message finds nothing about its channel in the
// caches, and fetching it is most of the cost. So the order of the fields
// matters: the parts that a message to a single subscriber uses are three cache
// lines of 64 bytes in one piece of memory. See BenchmarkCold of package relay.
type Channel[T any] struct {
	at     Point  // the newest message
	newest uint64 // its offset in the ring; 0 if nothing is held
	slot   uint32

	// Refs counts what keeps the channel beyond its messages. The owner calls
	// [History.Release] after it became 0.
	Refs int32
	// Hub is the owner's part.
	Hub T

	name string // static; lies in text if it fits
	text [48]byte

	floor   Point  // the last message that is not held any more
	oldest  uint64 // offset in the ring; 0 if nothing is held
	charged bool
	lingers bool

	// Owned by the table.
	hash uint64
	next *Channel[T] // another channel with this hash
}

func newChannel[T any](name string) *Channel[T] {
	ch := new(Channel[T])
	if n := copy(ch.text[:], name); n == len(name) {
		ch.name = unsafe.String(&ch.text[0], n) // text never changes
	} else {
		ch.name = strings.Clone(name)
	}
	return ch
}

// Name returns the channel's name.
func (ch *Channel[T]) Name() string { return ch.name }

// At returns the newest message.
func (ch *Channel[T]) At() Point { return ch.at }

// Floor returns the last message that is not held any more: nothing can resume
// from a point before it.
func (ch *Channel[T]) Floor() Point { return ch.floor }

// Newest returns the offset of the newest entry, or 0 if none is held.
func (ch *Channel[T]) Newest() uint64 { return ch.newest }

// Touch reads the parts that a message uses, so that the processor fetches them
// into its caches.
func (ch *Channel[T]) Touch() uint64 { return ch.newest + uint64(ch.text[0]) }
