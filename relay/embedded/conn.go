package embedded

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"time"
)

// A write may take one second, plus one second for each MiB. If it takes
// longer, the connection is closed.
const (
	writeTimeout = time.Second
	writeRate    = 1 << 20 // bytes per second
)

// A conn is a client's connection as miniredis sees it. It passes on
// well-formed requests only, and limits how long a client that does not read
// can block the others. Read and Write may be called concurrently with each
// other.
type conn struct {
	net.Conn
	logger *slog.Logger

	filter requestFilter // owned by the goroutine that reads
}

// Read returns bytes from the client, and an error at the first byte that does
// not belong to a request.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if accepted, invalid := c.filter.accept(p[:n]); invalid != nil {
		return accepted, invalid
	}
	return n, err
}

// Write closes the connection if the client does not accept p in time.
func (c *conn) Write(p []byte) (int, error) {
	allowed := writeTimeout + time.Duration(len(p))*time.Second/writeRate
	if err := c.Conn.SetWriteDeadline(time.Now().Add(allowed)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			c.logger.Warn("closed a Redis client that does not read", "client", c.RemoteAddr().String())
		}
		// Part of a reply may have been sent, so no other reply can follow it.
		_ = c.Conn.Close()
	}
	return n, err
}
