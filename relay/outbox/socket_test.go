package outbox_test

import (
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
)

// A waitingSocket writes only from its Drain, as one for TLS does. Each write is announced on writing and does what it is
// told on result.
type waitingSocket struct {
	outboxtest.FakeSocket
	writing chan [][]byte
	result  chan written
}

type written struct {
	n   int // -1: everything
	err error
}

func newWaitingSocket() *waitingSocket {
	return &waitingSocket{writing: make(chan [][]byte), result: make(chan written)}
}

// Send implements [Socket]: never at once.
func (s *waitingSocket) Send([][]byte) (int, error) { return 0, nil }

// Drain implements [Socket].
func (s *waitingSocket) Drain(o *outbox.Outbox) {
	for {
		frames := o.Take(nil)
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
		o.Took(r.n, r.err)
	}
}
