package ws

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// A waiting is the context of one who waits to be known: the request's, that ends also when nobody new is let in any more.
// Most of those who come need not wait, so it costs nothing before somebody asks for its end.
type waiting struct {
	context.Context // the request's
	leave           context.Context
	response        http.ResponseWriter

	once   sync.Once
	both   context.Context
	cancel func()
}

// Done implements [context.Context].
func (w *waiting) Done() <-chan struct{} {
	w.once.Do(func() {
		// The deadline for the request's headers has been met; running out now, it would end the request's context.
		_ = http.NewResponseController(w.response).SetReadDeadline(time.Time{})
		both, cancel := context.WithCancel(w.Context)
		stop := context.AfterFunc(w.leave, cancel)
		w.both, w.cancel = both, func() { stop(); cancel() }
	})
	return w.both.Done()
}

// Err implements [context.Context].
func (w *waiting) Err() error {
	w.Done()
	return w.both.Err()
}

// end ends the waiting. Whoever still holds on to w finds it done.
func (w *waiting) end() {
	w.once.Do(func() { w.both = ended })
	if w.cancel != nil {
		w.cancel()
	}
}

// ended is a context that has ended.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
