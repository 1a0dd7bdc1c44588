package relay_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/stream"
)

// newDurableHub returns a running hub whose channels are streams of a store
// that does not fail. pass may change that; see [storeConn].
func newDurableHub(t *testing.T, pass func(ctx context.Context, op, channel string) error) *durableHub {
	s := newPlainStore()
	conn := &storeConn{store: s, pass: pass}
	h := newTestHub(t, relay.HubConfig{
		Shards: 1, PingInterval: time.Hour, Streams: func() stream.Store { return conn },
	})
	t.Cleanup(h.start())
	h.Online(1)
	synctest.Wait()
	return &durableHub{h, s, conn}
}

// A durableHub is a hub with a store.
type durableHub struct {
	*testHub
	store *store
	conn  *storeConn
}

// changeDuringRead makes change happen in the next read of a state, between the
// entries and the state.
func (h *durableHub) changeDuringRead(change func()) {
	h.conn.between = func(string) {
		h.conn.between = nil
		change()
	}
}

// add adds entries n to m without a nudge.
func (h *durableHub) add(channel string, n, m int) {
	h.store.fill(channel, n, m, 0)
}

// newCursor returns the cursor that a new client of a channel gets. It is of an
// entry: without a stream there is no place to resume from.
func (h *durableHub) newCursor(channel string) string {
	h.add(channel, 0, 0)
	return h.testHub.newCursor(channel)
}

// nudge announces entries.
func (h *durableHub) nudge(channel string) {
	h.Nudge([]byte(channel), false)
	synctest.Wait()
}
