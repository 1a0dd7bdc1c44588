package history

import (
	"strings"
	"unsafe"
)

// A Channel is the state of one channel that has subscribers, or had a message
// recently.
//
// The order of the fields matters. With thousands of channels, the state of a
// message's channel is usually not in the processor's caches, and loading it is
// most of the cost of a message. The fields that a message to a single
// subscriber uses are three cache lines of 64 bytes in one piece of memory. See
// BenchmarkCold of package relay.
type Channel[T any] struct {
	// The newest message, as a Point without padding, and the bytes of the
	// ring's newest page.
	lastOrd, lastIndex uint64
	lastCheck          uint32
	pageBytes          uint32

	newest uint64 // offset of the newest message in the ring; 0 if nothing is held
	slot   uint32

	// Refs counts the references that keep the channel when it holds no
	// messages. The owner changes it, and calls [History.Release] when it
	// becomes 0.
	Refs int32
	// Hub is the owner's part.
	Hub T

	name string // does not change; stored in text if it fits
	text [48]byte

	floor     Point  // the newest message that is not held any more
	oldest    uint64 // offset in the ring; 0 if nothing is held
	index     *index // nil while there is no need for one
	charged   bool
	lingering bool

	// Used by the table only.
	hash uint64
	next *Channel[T] // another channel with this hash
}

func newChannel[T any](name string) *Channel[T] {
	ch := new(Channel[T])
	if n := copy(ch.text[:], name); n == len(name) {
		ch.name = unsafe.String(&ch.text[0], n) // text does not change after this
	} else {
		ch.name = strings.Clone(name)
	}
	return ch
}

// Name returns the channel's name.
func (ch *Channel[T]) Name() string { return ch.name }

// At returns the newest message.
func (ch *Channel[T]) At() Point {
	return Point{Ord: ch.lastOrd, Index: ch.lastIndex, Check: ch.lastCheck}
}

// Floor returns the newest message that is not held any more. A client cannot
// resume from a point before it.
func (ch *Channel[T]) Floor() Point { return ch.floor }

// Newest returns the offset of the newest entry, or 0 if no entry is held.
func (ch *Channel[T]) Newest() uint64 { return ch.newest }

// Touch reads the fields that a message uses, so that the processor loads them
// into its caches. The result has no meaning.
func (ch *Channel[T]) Touch() uint64 { return ch.newest + uint64(ch.text[0]) }
