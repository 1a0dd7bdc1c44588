package ws

import (
	"sync/atomic"
	"time"

	"sidecast/relay/protocol"
)

// A message must be complete messageTime after its first byte, and a second
// later for each messageRate bytes that its headers announce. A client that
// sends more slowly would keep memory, and need not answer pings.
const (
	messageTime = 10 * time.Second
	messageRate = 32 << 10
)

// A messageLimit closes a connection whose client does not finish a message.
// Only the reading goroutine calls update and stop.
type messageLimit struct {
	timer *time.Timer  // nil until a message arrives in parts
	began int64        // of the message for which the timer runs; Unix time in nanoseconds
	due   atomic.Int64 // when the message must be complete; 0 between messages
}

// update runs after each read.
func (l *messageLimit) update(c *conn, now time.Time) {
	began := c.decoder.began
	if began == 0 {
		l.stop()
		return
	}
	limit := messageTime + time.Duration(c.decoder.size)*time.Second/messageRate
	l.due.Store(began + int64(limit))
	switch {
	case l.timer == nil:
		l.timer = time.AfterFunc(limit, func() { l.expire(c) })
	case l.began != began:
		l.timer.Reset(limit)
	}
	l.began = began
}

// stop records that no message is incomplete.
func (l *messageLimit) stop() {
	if l.began != 0 {
		l.began = 0
		l.due.Store(0)
		l.timer.Stop()
	}
}

// expire runs when a message should be complete.
func (l *messageLimit) expire(c *conn) {
	due := l.due.Load()
	if due == 0 {
		return
	}
	switch late := time.Duration(time.Now().UnixNano() - due); {
	case late < 0: // the message is larger than the timer was set for
		l.timer.Reset(-late)
	case late > time.Second && l.due.CompareAndSwap(due, due+int64(late+time.Second)):
		l.timer.Reset(time.Second) // the process was suspended: what has arrived meanwhile is not read yet
	default:
		c.session.Close(protocol.ClosePolicy.Because(protocol.ReasonMessageTime))
	}
}
