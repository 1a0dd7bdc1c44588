package console

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

// A pipe is a response whose body a test reads while it is written. It has no
// network, so that it works in a bubble.
type pipe struct {
	reader *io.PipeReader
	writer *io.PipeWriter
	header http.Header
	once   sync.Once
	status chan int
}

func newPipe() *pipe {
	r, w := io.Pipe()
	return &pipe{reader: r, writer: w, header: make(http.Header), status: make(chan int, 1)}
}

func (p *pipe) Header() http.Header         { return p.header }
func (p *pipe) WriteHeader(status int)      { p.once.Do(func() { p.status <- status }) }
func (p *pipe) Write(b []byte) (int, error) { p.WriteHeader(http.StatusOK); return p.writer.Write(b) }
func (p *pipe) Flush()                      {}
func (p *pipe) awaitStatus() int            { return <-p.status }
func (p *pipe) end()                        { _ = p.writer.Close(); _ = p.reader.Close() }

func (p *pipe) SetReadDeadline(time.Time) error  { return nil }
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

func request(t *testing.T) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithCancel(t.Context())
	return httptest.NewRequestWithContext(ctx, http.MethodGet, "http://localhost:9190/console/feed", nil), cancel
}
