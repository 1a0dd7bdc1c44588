package source

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sidecast/relay/stats"
)

// The watchdog's times: a link that is silent for pingAfter is asked, and one that is silent for deadAfter is dead.
const (
	pingAfter = 3 * time.Second
	deadAfter = 8 * time.Second
	watchTick = 500 * time.Millisecond
)

var (
	errSilent      = fmt.Errorf("nothing came for %v, not even an answer to PING", deadAfter)
	errUnconfirmed = fmt.Errorf("the subscriptions were not confirmed within %v", deadAfter)
)

// watch closes the link when nothing comes for too long. It only ever touches the conn, never go-redis, which holds a
// lock while it dials.
func (l *Link) watch(ctx context.Context) {
	ticker := time.NewTicker(watchTick)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if t := l.current(); t != nil {
			t.watch(t.now())
		}
	}
}

// current returns the conn last dialled for the link, which may have ended.
func (l *Link) current() *tap {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tap
}

// A watchdog judges how long a conn has been silent.
type watchdog struct {
	looked  int64 // when it looked last
	excused int64 // silence before is not counted
	asked   int64 // when it sent the last PING
}

// watch judges the conn at a time of [tap.now].
func (t *tap) watch(at int64) {
	w := &t.dog
	if at-w.looked > int64(4*watchTick) {
		w.excused = at // the process stood still, and what came meanwhile has yet to be read
	}
	w.looked = at
	began, waiting := t.subscribing.Load(), t.waiting.Load()
	if began == 0 { // the deadlines of the handshake watch this
		return
	}
	if !t.epoch.Load() {
		if at-max(began, w.excused) >= int64(deadAfter) {
			t.cut(stats.CauseError, errUnconfirmed)
		}
		return
	}
	if waiting == 0 { // it is we who are not reading
		return
	}
	since := max(t.heard.Load(), waiting, w.excused)
	switch silent := time.Duration(at - since); {
	case silent >= deadAfter:
		t.cut(stats.CauseSilence, errSilent)
	case silent >= pingAfter && at-w.asked >= int64(pingAfter):
		w.asked = at
		_, _ = t.ping() // where it fails the conn is ending
	}
}

// errNoEpoch says that nothing may be written to a conn that go-redis may still be writing to.
var errNoEpoch = errors.New("no epoch is running")

// ping writes a PING with a nonce of its own and returns its sequence, which ponged reaches when it was answered. Within
// an epoch nobody else writes, because go-redis wrote its last subscription before it was confirmed; the lock holds
// even so. A conn that cannot be written to is cut.
func (t *tap) ping() (uint64, error) {
	if !t.epoch.Load() {
		return 0, errNoEpoch
	}
	t.writing.Lock()
	defer t.writing.Unlock()
	seq := t.pinged.Add(1)
	if err := t.Conn.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		t.cut(stats.CauseError, err)
		return 0, err
	}
	command := fmt.Appendf(nil, "*2\r\n$4\r\nPING\r\n$%d\r\n%s%016x\r\n", nonceLen, noncePrefix, seq)
	if _, err := t.Conn.Write(command); err != nil {
		t.cut(stats.CauseError, err) // it may have gone out in part
		return 0, err
	}
	return seq, nil
}
