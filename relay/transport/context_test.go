package transport

import (
	"context"
	"net/http/httptest"
	"testing"
	"time"
)

// A deadlineRecorder is a response that counts how often its request's read
// deadline is cleared.
type deadlineRecorder struct {
	*httptest.ResponseRecorder
	cleared int
}

func (r *deadlineRecorder) SetReadDeadline(at time.Time) error {
	if at.IsZero() {
		r.cleared++
	}
	return nil
}

// The context ends both for code that called Done before its end and for code
// that calls Done afterwards.
func TestAdmitContextEnds(t *testing.T) {
	for name, end := range map[string]func(c *AdmitContext, disconnect, stop context.CancelFunc){
		"the client disconnects":       func(_ *AdmitContext, disconnect, _ context.CancelFunc) { disconnect() },
		"the handler stops admitting":  func(_ *AdmitContext, _, stop context.CancelFunc) { stop() },
		"the client is admitted":       func(c *AdmitContext, _, _ context.CancelFunc) { c.End() },
		"the handshake is ended twice": func(c *AdmitContext, _, _ context.CancelFunc) { c.End(); c.End() },
	} {
		for _, used := range []bool{true, false} {
			request, disconnect := context.WithCancel(t.Context())
			handler, stop := context.WithCancel(t.Context())
			c := NewAdmitContext(request, handler, &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()})
			child := context.Context(c)
			if used {
				var cancel context.CancelFunc
				child, cancel = context.WithCancel(c)
				defer cancel()
				if child.Err() != nil || c.Err() != nil {
					t.Errorf("%s: the context ends too early", name)
				}
			}
			end(c, disconnect, stop)
			<-child.Done()
			if c.Err() == nil {
				t.Errorf("%s: the context ends without an error (used before: %v)", name, used)
			}
			disconnect()
			stop()
		}
	}
}

// The deadline for the request's headers would end the request's context. It is
// cleared once for a request that waits, and not at all for a request that does
// not.
func TestAdmitContextClearsTheDeadline(t *testing.T) {
	for _, calls := range []int{0, 1, 2} {
		response := &deadlineRecorder{ResponseRecorder: httptest.NewRecorder()}
		c := NewAdmitContext(t.Context(), context.Background(), response)
		for range calls {
			c.Done()
		}
		c.End()
		<-c.Done()
		if want := min(calls, 1); response.cleared != want {
			t.Errorf("after %d calls of Done the deadline was cleared %d times, want %d", calls, response.cleared, want)
		}
	}
}
