package embedded

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"time"
)

// Writes are given a second, and one more for each MiB, before the client counts as stuck.
const (
	writeTimeout = time.Second
	writeRate    = 1 << 20 // bytes per second
)

// A conn stands between a client and miniredis: it passes on whole requests only, and bounds how long a client that does
// not read holds up the others. Read and Write may be called concurrently with each other.
type conn struct {
	net.Conn
	logger *slog.Logger

	requests requests // owned by the goroutine that reads
}

// Read reads what the client sends, up to what is no request.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if good, bad := c.requests.take(p[:n]); bad != nil {
		return good, bad
	}
	return n, err
}

// Write closes the connection if the client does not take p in time.
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
		// Part of a reply may have gone out: nothing can follow it.
		_ = c.Conn.Close()
	}
	return n, err
}
