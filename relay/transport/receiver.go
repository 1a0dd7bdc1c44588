package transport

// A Receiver handles what a client sends, and the end of its connection. It
// embeds the client's [Conn]. Its methods are not called concurrently.
type Receiver interface {
	base() *Conn

	// Receive handles bytes from the client, which are only valid during the
	// call. It does not wait: many clients may share the goroutine that calls
	// it. It returns how many bytes it has handled, and what follows.
	Receive(b []byte) (n int, next Next)
	// Work does what Receive has left to do, and may wait. It is called after
	// Receive has returned Work. Meanwhile nothing is read from the client.
	Work()
	// Incomplete reports whether a part of a message has arrived.
	Incomplete() bool
	// Panicked is called with the value of a panic in Receive or Work. Leave
	// follows.
	Panicked(value any)
	// Leave ends the session, when nothing more is read. expired is set if that
	// is because the outbox let the connection expire, or because the kernel
	// could not watch it. It may wait.
	Leave(expired bool) Farewell
	// Closed is called once after the connection was closed, at last.
	Closed()
}

// A Next says what follows after [Receiver.Receive].
type Next uint8

const (
	More Next = iota // all bytes were handled: Receive gets the next ones
	Work             // Work must be called before Receive gets the other bytes
	End              // nothing more may be read
)

// A Farewell says how a connection is closed after its session has ended.
type Farewell uint8

const (
	// CloseNow closes it at once.
	CloseNow Farewell = iota
	// Linger first gives the client a moment to close its half. If the relay
	// closed a connection with unread bytes, the kernel would send a reset, and
	// the client would lose the last frame.
	Linger
	// LingerForPeer is Linger for a client that sends nothing more, and waits
	// for the relay to close the connection.
	LingerForPeer
)

// receive calls Receive until all bytes are handled, or until something else has
// to be done, and returns the bytes that are left.
func receive(r Receiver, b []byte) (rest []byte, next Next) {
	defer func() {
		if v := recover(); v != nil {
			r.Panicked(v)
			rest, next = nil, End
		}
	}()
	for len(b) > 0 && next == More {
		n := 0
		n, next = r.Receive(b)
		b = b[n:]
	}
	return b, next
}

// work does the work that is left, and handles the bytes after it. It reports
// false if nothing more may be read.
func work(r Receiver, rest []byte) (more bool) {
	for next := Work; ; {
		switch next {
		case More:
			return true
		case End:
			return false
		}
		if !runWork(r) {
			return false
		}
		rest, next = receive(r, rest)
	}
}

func runWork(r Receiver) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			r.Panicked(v)
		}
	}()
	r.Work()
	return true
}

// Serve handles what r's client sends until the connection ends. early are bytes
// that arrived together with the request; it may be nil. Serve returns at once.
func Serve(r Receiver, early *[]byte) {
	c := r.base()
	if c.goroutine != nil {
		go c.goroutine.serve(r, early)
		return
	}
	c.polled.loop.serve(r, early)
}
