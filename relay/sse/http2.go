package sse

import (
	"net/http"
	"sync"
	"time"

	"sidecast/relay/outbox"
)

// A stream2 is a stream over HTTP/2. It is the socket of its outbox. A goroutine
// writes, and exists only while there is something to write.
type stream2 struct {
	*stream
	outbox  outbox.Outbox
	writer  http.ResponseWriter
	control *http.ResponseController

	over chan struct{} // closed when the stream must end, or everything was sent
	once sync.Once     // closes over

	writing sync.Mutex // held while a goroutine uses writer
	ended   bool       // the handler returns, and writer must not be used; guarded by writing and by mu

	mu sync.Mutex // guards the use of control by cut
}

// serveHTTP2 serves the stream until it ends.
func (s *stream) serveHTTP2(w http.ResponseWriter, r *http.Request) {
	setHeaders(w.Header())
	c := &stream2{stream: s, writer: w, control: http.NewResponseController(w), over: make(chan struct{})}
	// The outbox limits the time for writing, and nothing is read.
	_ = c.control.SetWriteDeadline(time.Time{})
	_ = c.control.SetReadDeadline(time.Time{})
	c.outbox.Init(s.handler.cfg.Budget, c, s.slowFrame())
	s.join(&c.outbox, nil)
	forget(r)
	select {
	case <-r.Context().Done():
		s.session.ClientLeft()
	case <-c.over:
	}
	s.session.Leave()
	c.end()
	s.logClosed(&c.outbox)
}

// forget drops what the client has sent, which may contain a token. net/http
// keeps the request as long as the stream.
func forget(r *http.Request) {
	clear(r.Header)
	r.RequestURI, r.URL.RawQuery = "", ""
}

// end ends writing: net/http uses the writer for other requests after the
// handler has returned.
func (c *stream2) end() {
	if !c.outbox.Flushed() {
		c.cut() // ends a write that waits for the client
	}
	c.outbox.Shut()
	c.writing.Lock()
	defer c.writing.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ended = true
}

// cut resets the stream. Writes fail from then on.
func (c *stream2) cut() {
	c.once.Do(func() { close(c.over) })
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		_ = c.control.SetWriteDeadline(time.Unix(1, 0))
	}
}

// Send implements [outbox.Socket]. It sends nothing: the outbox queues the
// frames, and Drain writes them.
func (c *stream2) Send([][]byte) (int, error) { return 0, nil }

// Unacknowledged implements [outbox.Socket]. The connection counts for all of
// its streams together.
func (c *stream2) Unacknowledged() (bytes int, known bool) { return 0, false }

// Polled implements [outbox.Socket].
func (c *stream2) Polled() bool { return false }

// Drain implements [outbox.Socket].
func (c *stream2) Drain(o *outbox.Outbox) {
	c.writing.Lock()
	defer c.writing.Unlock()
	var space [64][]byte
	for {
		frames := o.Next(space[:0])
		if len(frames) == 0 {
			return
		}
		n, err := c.write(frames)
		o.Written(n, err)
		clear(space[:])
	}
}

// write writes frames. The stream is locked for writing.
func (c *stream2) write(frames [][]byte) (n int, err error) {
	if c.ended {
		return 0, http.ErrHandlerTimeout
	}
	for _, frame := range frames {
		written, err := c.writer.Write(frame)
		n += written
		if err != nil {
			return n, err
		}
	}
	return n, c.control.Flush()
}

// Finish implements [outbox.Socket]. The end of the handler ends the stream.
func (c *stream2) Finish() { c.once.Do(func() { close(c.over) }) }

// Expire implements [outbox.Socket]. It does not wait for the connection, which
// serves other streams.
func (c *stream2) Expire(d time.Duration) { time.AfterFunc(d, c.cut) }
