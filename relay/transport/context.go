package transport

import (
	"context"
	"net/http"
	"sync"
	"time"
)

// An AdmitContext is the context of a request while the handler decides whether
// to admit its client. It ends with the request, and also when the handler
// stops admitting clients. Most requests are decided without waiting, so it
// starts nothing before the first call of Done or Err. That call clears the
// deadlines of the request and of its response.
type AdmitContext struct {
	context.Context // the request's
	stopped         context.Context
	response        http.ResponseWriter

	once   sync.Once
	both   context.Context
	cancel func()
}

// NewAdmitContext returns a context for a request whose response is w. stopped
// ends when the handler stops admitting clients. Its caller must call
// [AdmitContext.End].
func NewAdmitContext(request, stopped context.Context, w http.ResponseWriter) *AdmitContext {
	return &AdmitContext{Context: request, stopped: stopped, response: w}
}

// Done implements [context.Context].
func (c *AdmitContext) Done() <-chan struct{} {
	c.once.Do(func() {
		// The request's headers arrived in time. Their deadline is still set,
		// and would end the request's context when it passes. So would that for
		// the response over HTTP/2.
		control := http.NewResponseController(c.response)
		_ = control.SetReadDeadline(time.Time{})
		_ = control.SetWriteDeadline(time.Time{})
		both, cancel := context.WithCancel(c.Context)
		stop := context.AfterFunc(c.stopped, cancel)
		c.both, c.cancel = both, func() { stop(); cancel() }
	})
	return c.both.Done()
}

// Err implements [context.Context].
func (c *AdmitContext) Err() error {
	c.Done()
	return c.both.Err()
}

// End cancels the context. Done and Err may still be called afterwards.
func (c *AdmitContext) End() {
	c.once.Do(func() { c.both = canceled })
	if c.cancel != nil {
		c.cancel()
	}
}

// canceled is a context that has ended.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()
