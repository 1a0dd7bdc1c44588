package relay_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
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

// A client that cannot answer pings stays connected as long as its kernel
// acknowledges them, and is disconnected when it does not.
func TestClientWithoutPongs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{Shards: 1, PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second})
		t.Cleanup(h.start())
		h.Online(1)
		sockets := map[string]*outboxtest.FakeSocket{}
		for _, name := range []string{"acknowledges", "does not", "unknown"} {
			socket, o := outboxtest.NewFakeSocket(outboxtest.Unlimited), new(outbox.Outbox)
			o.Init(h.budget, socket, nil)
			session := h.Join(relay.Client{Transport: protocol.ServerSentEvents, Protocol: protocol.SSE{}, Outbox: o, NoPongs: true})
			session.Subscribe([]protocol.ChannelRequest{{Channel: "a"}})
			t.Cleanup(func() { session.Leave(); o.Shut() })
			sockets[name] = socket
		}
		sockets["acknowledges"].SetUnacknowledged(0)
		sockets["does not"].SetUnacknowledged(0)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for name, socket := range sockets {
			if socket.Ended() {
				t.Errorf("%s: disconnected although nothing is missing", name)
			}
		}
		sockets["does not"].SetUnacknowledged(1) // not all of the next ping arrives
		time.Sleep(40 * time.Second)
		synctest.Wait()
		for name, socket := range sockets {
			if socket.Ended() != (name == "does not") {
				t.Errorf("%s: disconnected %v", name, socket.Ended())
			}
		}
	})
}

// An event stream of a durable channel has no gap without a channel, and no
// heartbeat with the place of live channels: the browser would repeat that
// instead of its place in the stream.
func TestStreamOfDurableChannel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &storeConn{store: newPlainStore()}
		h := newTestHub(t, relay.HubConfig{
			Shards: 1, PingInterval: 25 * time.Second, HistoryBytes: 1 << 20, HistoryAge: time.Hour,
			Streams: func() stream.Store { return conn },
		})
		t.Cleanup(h.start())
		h.Online(1)
		h.receiveMarker()
		socket, o := outboxtest.NewFakeSocket(outboxtest.Unlimited), new(outbox.Outbox)
		o.Init(h.budget, socket, nil)
		session := h.Join(relay.Client{Transport: protocol.ServerSentEvents, Protocol: protocol.SSE{}, Outbox: o, NoPongs: true})
		session.Subscribe([]protocol.ChannelRequest{{Channel: "a"}})
		t.Cleanup(func() { session.Leave(); o.Shut() })
		h.Offline()
		h.Online(2)
		h.receiveMarker()
		time.Sleep(time.Minute) // some heartbeats
		session.Close(protocol.CloseRestart)
		synctest.Wait()
		const want = "id: AgAAAAAAAA\n\n" + "event: offline\ndata: {\"type\":\"offline\",\"reason\":\"redis\"}\n\n"
		got := string(socket.Got())
		if blocks, ok := strings.CutPrefix(got, want); !ok || strings.Contains(blocks, "id:") || strings.Contains(blocks, "gap") {
			t.Errorf("the stream is\n%s", got)
		}
	})
}
