package transport

import (
	"errors"
	"net"
)

// A Kernel has the system calls for the connections of a [Reader]. Tests replace
// the operating system's. Methods may be called concurrently. A descriptor is
// valid from Adopt to Close; it may be the same number as one that was closed.
type Kernel interface {
	// Adopt takes a connection over: it returns a descriptor for it, and c must
	// not be used any more. It reports false, and leaves c as it is, if it
	// cannot take c over.
	Adopt(c net.Conn) (fd int32, ok bool)
	// NewPoller returns a poller for adopted descriptors.
	NewPoller() (Poller, error)
	// Read reads without waiting. It returns [ErrAgain] if nothing has arrived,
	// and 0 and nil if nothing more will arrive.
	Read(fd int32, b []byte) (int, error)
	// Send is as in outbox.Socket.
	Send(fd int32, frames [][]byte) (int, error)
	// Unacknowledged is as in outbox.Socket.
	Unacknowledged(fd int32) (bytes int, known bool)
	// EndReading makes the descriptor readable, and Read return 0 when it has
	// returned what has arrived.
	EndReading(fd int32)
	// EndWriting half-closes the connection.
	EndWriting(fd int32)
	// Close closes the descriptor. If discard is set, it drops what was sent and
	// has not been acknowledged.
	Close(fd int32, discard bool)
}

// ErrAgain says that nothing can be read now.
var ErrAgain = errors.New("nothing to read now")

// A Poller waits for descriptors to change. One goroutine calls Wait; the other
// methods may be called concurrently.
type Poller interface {
	// Add registers a descriptor until it is closed. Wait returns it now if it
	// is readable or writable, and later each time that it becomes so.
	Add(fd int32, tag uint64) error
	// Rearm makes Wait return a registered descriptor again if it is readable or
	// writable.
	Rearm(fd int32, tag uint64) error
	// Wait waits, if wait is set, until there is an event, stores events, and
	// returns their number. It returns an error after Close.
	Wait(events []Event, wait bool) (int, error)
	// Close ends Wait.
	Close()
}

// An Event says that a descriptor is readable or writable. ReadAll is set together
// with Readable if no other event may follow before Read has returned [ErrAgain],
// 0 or an error: the peer sends nothing more, or it has sent urgent data, at
// which a Read ends although there is more to read.
type Event struct {
	Tag                         uint64
	Readable, ReadAll, Writable bool
}
