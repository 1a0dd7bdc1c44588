package outbox_test

import (
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
)

// A waitingSocket writes only from its Drain, as a socket for TLS does. It
// announces each write on writing and receives the result of the write on
// result.
type waitingSocket struct {
	outboxtest.FakeSocket
	writing chan [][]byte
	result  chan written
}

// A written is the result of a write.
type written struct {
	n   int // -1 for everything
	err error
}

func newWaitingSocket() *waitingSocket {
	return &waitingSocket{writing: make(chan [][]byte), result: make(chan written)}
}

// Send implements [outbox.Socket]. It accepts nothing.
func (s *waitingSocket) Send([][]byte) (int, error) { return 0, nil }

// Drain implements [outbox.Socket].
func (s *waitingSocket) Drain(o *outbox.Outbox) {
	for {
		frames := o.Next(nil)
		if len(frames) == 0 {
			return
		}
		s.writing <- frames
		r := <-s.result
		all := []byte(nil)
		for _, frame := range frames {
			all = append(all, frame...)
		}
		if r.n < 0 {
			r.n = len(all)
		}
		s.Receive(all[:r.n])
		o.Written(r.n, r.err)
	}
}
