package front

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

// An exchange is one request and its response. It implements
// [http.ResponseWriter], and what [http.ResponseController] needs for a
// handshake. Only the handler's goroutine uses it.
type exchange struct {
	*conn
	early    []byte // that followed the request; in the buffer of the connection
	context  requestContext
	hijacked bool

	header http.Header
	status int // 0: not written
	body   bytes.Buffer
}

// answer calls the handler for a request, and ends the connection unless the
// handler takes it over.
func (c *conn) answer(r *http.Request, early []byte) {
	x := &exchange{conn: c, early: early}
	defer x.finish()
	c.report(http.StateActive)
	x.context.Context, x.context.net = c.front.context, c.net
	if hook := c.front.server.ConnContext; hook != nil {
		x.context.Context = hook(c.front.context, c.net)
	}
	r.RemoteAddr = c.net.RemoteAddr().String()
	c.front.server.Handler.ServeHTTP(x, r.WithContext(&x.context))
	if !x.hijacked {
		x.respond()
	}
}

// finish ends the exchange, also after a panic.
func (x *exchange) finish() {
	if v := recover(); v != nil && v != http.ErrAbortHandler {
		x.front.server.ErrorLog.Printf("http: panic serving %v: %v\n%s", x.net.RemoteAddr(), v, debug.Stack())
	}
	x.context.finish()
	if !x.hijacked {
		x.front.leave(x.conn)
		x.end()
	}
}

// Detach takes the connection over from the front. Its second result are the
// bytes that followed the request, which are valid until the handler returns.
func (x *exchange) Detach() (net.Conn, []byte, error) {
	if x.hijacked {
		return nil, nil, http.ErrHijacked
	}
	x.hijacked = true
	x.front.leave(x.conn)
	if b, ok := x.context.stop(); ok {
		x.early = append(x.early[:len(x.early):len(x.early)], b)
	}
	_ = x.net.SetDeadline(time.Time{})
	x.report(http.StateHijacked)
	return x.net, x.early, nil
}

// Hijack implements [http.Hijacker].
func (x *exchange) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	netConn, early, err := x.Detach()
	if err != nil {
		return nil, nil, err
	}
	reader := bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(early)), netConn), len(early))
	_, err = reader.Peek(len(early))
	return netConn, bufio.NewReadWriter(reader, bufio.NewWriter(netConn)), err
}

// SetReadDeadline is for [http.ResponseController].
func (x *exchange) SetReadDeadline(t time.Time) error { return x.net.SetReadDeadline(t) }

// SetWriteDeadline is for [http.ResponseController].
func (x *exchange) SetWriteDeadline(t time.Time) error { return x.net.SetWriteDeadline(t) }

// Header implements [http.ResponseWriter].
func (x *exchange) Header() http.Header {
	if x.header == nil {
		x.header = make(http.Header)
	}
	return x.header
}

// WriteHeader implements [http.ResponseWriter].
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 {
		x.status = status
	}
}

// Write implements [http.ResponseWriter].
func (x *exchange) Write(b []byte) (int, error) {
	if x.hijacked {
		return 0, http.ErrHijacked
	}
	x.WriteHeader(http.StatusOK)
	return x.body.Write(b)
}

// respond writes the response, which ends the connection.
func (x *exchange) respond() {
	x.WriteHeader(http.StatusOK)
	h := x.Header()
	h.Set("Connection", "close")
	h.Set("Content-Length", strconv.Itoa(x.body.Len()))
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	if x.body.Len() > 0 && h.Get("Content-Type") == "" {
		h.Set("Content-Type", http.DetectContentType(x.body.Bytes()))
	}
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(x.status) + " " + http.StatusText(x.status) + "\r\n")
	_ = h.Write(&b) // a Buffer has no errors
	b.WriteString("\r\n")
	_, _ = x.body.WriteTo(&b)
	if timeout := x.front.server.WriteTimeout; timeout > 0 {
		_ = x.net.SetWriteDeadline(time.Now().Add(timeout))
	}
	_, _ = x.net.Write(b.Bytes())
}
