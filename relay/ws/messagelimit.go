package ws

import (
	"sync"
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
// Only the methods of [transport.Receiver] use it.
type messageLimit struct {
	current *messageTimer // nil unless a part of a message has arrived
}

// A messageTimer runs while a message is incomplete.
type messageTimer struct {
	conn  *conn
	began int64 // of the message; Unix time in nanoseconds; does not change

	mu    sync.Mutex  // guards the fields below
	timer *time.Timer // calls expire
	due   time.Time   // when the message must be complete; zero if it is
}

// update runs after each read.
func (l *messageLimit) update(c *conn, now time.Time) {
	began := c.decoder.began
	if l.current != nil && l.current.began != began {
		l.stop()
	}
	if began == 0 {
		return
	}
	if l.current == nil {
		l.current = &messageTimer{conn: c, began: began}
	}
	limit := messageTime + time.Duration(c.decoder.size)*time.Second/messageRate
	l.current.set(time.Unix(0, began).Add(limit), now)
}

// stop records that no message is incomplete.
func (l *messageLimit) stop() {
	if l.current != nil {
		l.current.stop()
		l.current = nil
	}
}

func (m *messageTimer) set(due, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if due.After(m.due) { // also than the time that it got after a suspension
		m.due = due
	}
	if m.timer == nil {
		m.timer = time.AfterFunc(due.Sub(now), m.expire)
	}
}

func (m *messageTimer) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.due = time.Time{}
	m.timer.Stop()
}

// expire runs when the message should be complete.
func (m *messageTimer) expire() {
	if m.late() {
		m.conn.session.Close(protocol.ClosePolicy.Because(protocol.ReasonMessageTime))
	}
}

// late reports whether the message is late. If it has more time, expire runs
// again.
func (m *messageTimer) late() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.due.IsZero() {
		return false
	}
	late := time.Since(m.due)
	switch {
	case late < 0: // the message is larger than the timer was set for
		m.timer.Reset(-late)
	case late > time.Second: // the process was suspended: what has arrived meanwhile is not read yet
		m.due = time.Now().Add(time.Second)
		m.timer.Reset(time.Second)
	default:
		return true
	}
	return false
}
