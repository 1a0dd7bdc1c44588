package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/protocol"
)

// A heartbeat names the position of a client, but not while something that it
// missed is still to be sent.
func TestHeartbeatPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 300)
		current, late := h.subscriber("a", ""), h.stalled(cursor)
		time.Sleep(25 * time.Second)
		synctest.Wait()
		current.want("a client that has everything", "subscribed false,heartbeat true")
		late.drain()
		got, _ := late.received()
		if before, after, found := strings.Cut(got, ",heartbeat false"); !found || before+after != "subscribed true,"+numbers(1, 300) {
			t.Errorf("a client that has not: received %.2000s", got)
		}
		h.Offline()
		time.Sleep(25 * time.Second)
		synctest.Wait()
		current.want("without a link", "heartbeat false")
	})
}

// The last event before a close is a heartbeat, after everything that was
// queued.
func TestLastWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		c := h.subscriber("a", "")
		h.publish("a", 1, 3)
		h.receiveMarker()
		c.session.Close(protocol.CloseRestart)
		c.want("a client that the relay closes", "subscribed false,1,2,3,heartbeat true,close")
	})
}
