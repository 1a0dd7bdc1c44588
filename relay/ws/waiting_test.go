package ws

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"
)

// patient is a response that notes whether its request may take its time.
type patient struct {
	*httptest.ResponseRecorder
	lifted int
}

func (p *patient) SetReadDeadline(at time.Time) error {
	if at.IsZero() {
		p.lifted++
	}
	return nil
}

// What ends the waiting of those who asked for its end before it came, and of those who ask afterwards.
func TestWaitingEnds(t *testing.T) {
	for name, end := range map[string]func(w *waiting, gone, leave context.CancelFunc){
		"the client is gone":       func(_ *waiting, gone, _ context.CancelFunc) { gone() },
		"nobody is let in":         func(_ *waiting, _, leave context.CancelFunc) { leave() },
		"the handshake goes on":    func(w *waiting, _, _ context.CancelFunc) { w.end() },
		"the handshake ends twice": func(w *waiting, _, _ context.CancelFunc) { w.end(); w.end() },
	} {
		for _, asked := range []bool{true, false} {
			request, gone := context.WithCancel(t.Context())
			relay, leave := context.WithCancel(t.Context())
			w := &waiting{Context: request, leave: relay, response: &patient{ResponseRecorder: httptest.NewRecorder()}}
			child := context.Context(w)
			if asked {
				var cancel context.CancelFunc
				child, cancel = context.WithCancel(w)
				defer cancel()
				if child.Err() != nil || w.Err() != nil {
					t.Errorf("%s: over before its end", name)
				}
			}
			end(w, gone, leave)
			<-child.Done()
			if w.Err() == nil {
				t.Errorf("%s: over without an error (asked before: %v)", name, asked)
			}
			gone()
			leave()
		}
	}
}

// The deadline for the request's headers would end the request's context: it is lifted for those who wait, once, and costs
// the others nothing.
func TestWaitingLiftsTheDeadline(t *testing.T) {
	for _, asks := range []int{0, 1, 2} {
		response := &patient{ResponseRecorder: httptest.NewRecorder()}
		w := &waiting{Context: t.Context(), leave: context.Background(), response: response}
		for range asks {
			w.Done()
		}
		w.end()
		<-w.Done()
		if want := min(asks, 1); response.lifted != want {
			t.Errorf("asked %d times: lifted %d times, want %d", asks, response.lifted, want)
		}
	}
}
