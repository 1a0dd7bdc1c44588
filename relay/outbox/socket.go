package outbox

import "time"

// A Socket is the sending end of one connection, as an [Outbox] uses it. Only
// Drain may call methods of the outbox.
type Socket interface {
	// Send writes as much of frames as the kernel accepts without waiting, and
	// returns the number of bytes. It returns 0 and nil if the kernel accepts
	// nothing now. It is called with the outbox locked.
	Send(frames [][]byte) (int, error)
	// Unacknowledged returns how many of the bytes that the kernel accepted the
	// client's kernel has not acknowledged. known is false if the socket cannot
	// find out. It is called with the outbox locked.
	Unacknowledged() (bytes int, known bool)
	// Polled reports whether an event loop calls [Outbox.Writable] when the
	// kernel may accept bytes again after a Send that it did not accept
	// completely. Then Drain is never called. The result does not change.
	Polled() bool
	// Drain sends until o has nothing left to send. It calls [Outbox.Resume]
	// whenever the socket may accept more bytes, or, if the socket can only
	// write by waiting, [Outbox.Next] and [Outbox.Written] in turn. It runs on
	// a separate goroutine. Only one Drain runs at a time. It must return soon
	// after the connection was closed.
	Drain(o *Outbox)
	// Finish half-closes the connection after everything was sent, and gives
	// the peer a second to close its half. After that second, reading from the
	// connection ends. It is called with the outbox locked.
	Finish()
	// Expire makes reading from the connection end after d. It is called with
	// the outbox locked.
	Expire(d time.Duration)
}
