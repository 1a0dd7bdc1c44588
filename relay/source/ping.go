package source

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sidecast/relay/source/resp"
	"sidecast/relay/stats"
)

// The nonce of the connection's PINGs is "sidecast" and their sequence number
// in 16 hexadecimal digits.
const (
	noncePrefix = "sidecast"
	nonceLen    = len(noncePrefix) + 16
)

// errNoEpoch reports that no epoch is running, so that go-redis may still be
// writing to the connection and nothing else may.
var errNoEpoch = errors.New("no epoch is running")

// ping writes a PING with a unique nonce and returns its sequence number. The
// answer has arrived when ponged reaches that number. Within an epoch go-redis
// does not write, because it wrote its last subscription before that was
// confirmed; the lock is held all the same. If the PING cannot be written, the
// connection is cut.
func (c *pubsubConn) ping() (uint64, error) {
	if !c.epochRunning.Load() {
		return 0, errNoEpoch
	}
	c.writeMu.Lock()
	defer c.writeMu.Unlock()
	seq := c.pinged.Add(1)
	if err := c.Conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		c.cut(stats.CauseError, err)
		return 0, err
	}
	command := fmt.Appendf(nil, "*2\r\n$4\r\nPING\r\n$%d\r\n%s%016x\r\n", nonceLen, noncePrefix, seq)
	if _, err := c.Conn.Write(command); err != nil {
		c.cut(stats.CauseError, err) // a part of it may have been sent
		return 0, err
	}
	return seq, nil
}

// parseBulk handles RESP3's answer to one of the connection's PINGs.
func (c *pubsubConn) parseBulk(b []byte) (bool, error) {
	if _, at := resp.BulkLen(b, 0); at == resp.Bad || at >= 0 && !c.live {
		return c.passReply() // Bad: it is null, or the skipper rejects it
	}
	return c.parsePong(b, 0)
}

// parsePong handles the answer to one of the connection's PINGs, whose nonce is
// at b[i:]. It passes any other string on.
func (c *pubsubConn) parsePong(b []byte, i int) (bool, error) {
	if size, at := resp.BulkLen(b, i); at < 0 {
		return incomplete(at)
	} else if size != nonceLen {
		return c.passReply()
	}
	nonce, end := resp.Bulk(b, i, nonceLen)
	if end < 0 {
		return incomplete(end)
	}
	if !c.recordPong(nonce) {
		return c.passReply()
	}
	c.r += end
	return true, nil
}

// recordPong records the answer to one of the connection's PINGs. It reports
// whether the nonce belongs to one.
func (c *pubsubConn) recordPong(nonce []byte) bool {
	digits, ok := strings.CutPrefix(string(nonce), noncePrefix)
	if !ok {
		return false
	}
	seq, err := strconv.ParseUint(digits, 16, 64)
	if err != nil || seq > c.pinged.Load() || seq <= c.ponged.Load() {
		return false
	}
	c.ponged.Store(seq)
	c.deliverGap() // before CatchUp returns
	c.link.barrier.ponged(c)
	return true
}
