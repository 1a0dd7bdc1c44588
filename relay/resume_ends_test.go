package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"sidecast/relay"
	"sidecast/relay/access"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/stream"
)

// requireGone fails if something still refers to a session that has left.
func requireGone(t *testing.T, s weak.Pointer[relay.Session]) {
	t.Helper()
	time.Sleep(time.Hour)
	for range 5 {
		runtime.GC()
		synctest.Wait()
	}
	if s.Value() != nil {
		t.Error("an hour later, the relay still has the session")
	}
}

// A replay of a durable channel ends when its client leaves in the middle.
func TestDurableReplayEndsWithTheClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		cursor := h.newCursor("a")
		h.store.fill("a", 1, 300, 1000)
		s := func() weak.Pointer[relay.Session] {
			c := h.connect(connectOptions{})
			c.subscribe("a", cursor) // it does not read
			c.leave()
			return weak.Make(c.session)
		}()
		requireGone(t, s)
	})
}

// A session that has left does not wait for a link.
func TestResumeEndsDuringAnOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newLiveHub(t, 1<<20, nil)
		cursor := h.newCursor("a")
		h.Offline()
		s := func() weak.Pointer[relay.Session] {
			c := h.connect(connectOptions{room: outboxtest.Unlimited})
			c.subscribe("a", cursor)
			c.leave()
			return weak.Make(c.session)
		}()
		requireGone(t, s)
	})
}

// The resumes of a session end when it unsubscribes, even if it has no room.
func TestResumesOfASlowClientEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 100)
		c := h.stalled(cursor)
		for range 20_000 {
			c.handle(`{"type":"subscribe","channels":[{"channel":"b","after":%q}]}`, cursor)
			c.handle(`{"type":"unsubscribe","channel":"b"}`)
			if c.pending() > 200<<10 {
				c.socket.Give(10 << 10)
				synctest.Wait()
			}
		}
		if n := c.session.Turns(); n > 128 {
			t.Errorf("the resumer has %d resumes of one session", n)
		}
	})
}

// A subscribe that fails while the application is asked about another channel
// is not answered as if it had succeeded.
func TestSubscribeFailsWhileAsking(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := mixedRules()
		rules.Public = rules.Durable
		var broken atomic.Bool
		conn := &storeConn{store: newPlainStore(), pass: func(context.Context, string, string) error {
			if broken.Load() {
				return context.DeadlineExceeded
			}
			return nil
		}}
		h := newTestHub(t, relay.HubConfig{Access: rules, Shards: 1, PingInterval: time.Hour, Streams: func() stream.Store { return conn }})
		t.Cleanup(h.start())
		h.Online(1)
		conn.fill("s:a", 0, 0, 0)
		cursor := h.newCursor("s:a")
		broken.Store(true)
		c := h.connect(connectOptions{room: outboxtest.Unlimited, ask: func(context.Context, string, string) (time.Time, protocol.Code) {
			time.Sleep(4 * time.Second)
			return time.Time{}, protocol.CodeOK
		}})
		t.Cleanup(c.leave)
		c.subscribe("s:a", cursor)
		time.Sleep(8 * time.Second)
		c.handle(`{"type":"subscribe","channels":[{"channel":"s:a"},{"channel":"x"}]}`) // s:a fails 2 s later
		broken.Store(false)
		time.Sleep(20 * time.Second)
		conn.fill("s:a", 1, 1, 0)
		h.Nudge([]byte("s:a"), false)
		time.Sleep(20 * time.Second)
		if got, _ := c.received(); strings.HasPrefix(got, "error unavailable,subscribed true") && !strings.HasSuffix(got, ",1") {
			t.Errorf("received %q and then nothing", got)
		}
	})
}

// Clients that accept a byte every 5 s do not keep others from resuming.
func TestSlowReplaysDelayNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{
			Shards: 1, PingInterval: 20 * time.Second, HistoryBytes: 4 << 20, HistoryAge: time.Hour,
			Budget: outbox.NewBudget(1<<20, 400<<10, 30*time.Second, nil),
		})
		t.Cleanup(h.start())
		h.Online(1)
		h.receiveMarker()
		var slow []*testClient
		for i := range 4 {
			name := fmt.Sprint("a", i)
			cursor := h.newCursor(name)
			h.publish(name, 1, 100)
			c := h.client(0)
			c.subscribe(name, cursor)
			slow = append(slow, c)
		}
		cursor := h.newCursor("b")
		h.publish("b", 1, 1)
		h.subscriber("b", cursor).want("a client that reads", "subscribed true,1")
		for range 10 {
			time.Sleep(5 * time.Second)
			for _, s := range slow {
				s.socket.Give(1)
			}
		}
		h.subscriber("b", cursor).want("a client that reads, later", "subscribed true,1")
		for _, s := range slow {
			if _, evicted := s.outbox.Evicted(); evicted {
				t.Error("a slow client was evicted: the test shows nothing")
			}
		}
	})
}

// A resume does not send the session's own entry before its id is known.
func TestDurableOwnEntryInReplay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := make(chan struct{})
		var appending atomic.Bool
		h := newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "append" {
				appending.Store(true)
			} else if op == "response" && appending.Swap(false) {
				<-gate // the entry was added, and its id is on its way
			}
			return nil
		})
		cursor := h.newCursor("a")
		h.store.fill("a", 1, 100, 1000)
		c := h.stalled(cursor)
		go c.handle(`{"type":"publish","channel":"a","data":"#101:own","echo":false}`)
		synctest.Wait()
		c.socket.Give(outboxtest.Unlimited)
		time.Sleep(100 * time.Millisecond)
		close(gate)
		time.Sleep(time.Second)
		c.want("without its own entry", "subscribed true,"+numbers(1, 100))
	})
}

// A client that answers pings is not disconnected while its command waits for
// Redis.
func TestWaitForOwnChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := mixedRules()
		rules.Public = nil
		conn := &storeConn{store: newPlainStore(), pass: func(ctx context.Context, _, _ string) error {
			<-ctx.Done() // Redis does not answer
			return ctx.Err()
		}}
		h := newTestHub(t, relay.HubConfig{
			Access: rules, Shards: 1, PingInterval: 25 * time.Second, PongTimeout: 2 * time.Second,
			Streams: func() stream.Store { return conn },
			Verify: func(context.Context, string) (*access.Identity, protocol.Code) {
				return &access.Identity{User: "u", Own: []string{"s:u"}}, protocol.CodeOK
			},
		})
		t.Cleanup(h.start())
		h.Online(1)
		c := h.connect(connectOptions{room: outboxtest.Unlimited})
		t.Cleanup(c.leave)
		time.Sleep(21 * time.Second) // the ping comes within 7 s
		c.handle(`{"type":"auth","token":"x"}`)
		c.session.Seen() // the pong, which arrived during the command
		if c.socket.Ended() {
			t.Error("the client is disconnected although its pong has arrived")
		}
	})
}

// A handshake that waits for Redis ends when the session is closed.
func TestClosedHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
		go func() { time.Sleep(time.Second); h.Drain(t.Context(), time.Second, protocol.CloseRestart) }()
		began := time.Now()
		c := h.connect(connectOptions{room: outboxtest.Unlimited, channels: []string{"a"}})
		took := time.Since(began)
		c.leave()
		if took > 3*time.Second {
			t.Errorf("the close frame of a drain at 1 s was sent after %v", took)
		}
	})
}

// The grant of a channel whose subscribe failed does not end the session.
func TestFailedGrantEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rules := mixedRules()
		rules.Public = nil
		conn := &storeConn{store: newPlainStore(), pass: func(context.Context, string, string) error { return context.DeadlineExceeded }}
		h := newTestHub(t, relay.HubConfig{Access: rules, Shards: 1, PingInterval: time.Hour, Streams: func() stream.Store { return conn }})
		t.Cleanup(h.start())
		h.Online(1)
		c := h.connect(connectOptions{room: outboxtest.Unlimited, ask: func(context.Context, string, string) (time.Time, protocol.Code) {
			return time.Now().Add(time.Minute), protocol.CodeOK
		}})
		t.Cleanup(c.leave)
		c.subscribe("s:a", "")
		time.Sleep(2 * time.Minute)
		c.want("of a channel that fails", "error unavailable")
	})
}

// A notice in a replay does not count as a delivered message.
func TestReplayCountsMessages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, cursor := missed(t, 4<<20, 300)
		c := h.stalled(cursor)
		h.Oversize([]byte("a"))
		c.drain()
		if n := h.stats.Deliveries[protocol.V1ID].Load(); n != 300 {
			t.Errorf("%d deliveries are counted of 300 messages", n)
		}
	})
}

// slowErrors takes a second to encode the error `unavailable`.
type slowErrors struct{ protocol.V1 }

func (p slowErrors) Event(e protocol.Event) []byte {
	if e.Code == protocol.CodeUnavailable {
		time.Sleep(time.Second)
	}
	return p.V1.Event(e)
}

// An unsubscribe while a subscribe fails is not answered as if that had failed
// before: its client has not received the error yet.
func TestUnsubscribeWhileSubscribeFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() })
		c := h.connect(connectOptions{room: outboxtest.Unlimited, protocol: slowErrors{}})
		t.Cleanup(c.leave)
		c.subscribe("a", "")
		time.Sleep(10*time.Second + 500*time.Millisecond)
		c.handle(`{"type":"unsubscribe","channel":"a"}`)
		time.Sleep(time.Minute)
		c.want("of a subscribe that fails", "unsubscribed")
	})
}

// A client that subscribes to another channel as soon as it has received that a
// subscribe failed has room for it.
func TestFailedSubscribeIsNotCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn := &storeConn{store: newPlainStore(), pass: func(ctx context.Context, _, _ string) error { <-ctx.Done(); return ctx.Err() }}
		h := newTestHub(t, relay.HubConfig{
			Shards: 1, PingInterval: time.Hour, MaxChannels: 1, Streams: func() stream.Store { return conn },
		})
		t.Cleanup(h.start())
		h.Online(1)
		var c *testClient
		var handled sync.WaitGroup
		failed := false
		c = h.connect(connectOptions{room: outboxtest.Unlimited, onSend: func(frames [][]byte) {
			if !failed && bytes.Contains(bytes.Join(frames, nil), []byte("unavailable")) {
				failed = true
				handled.Go(func() { c.subscribe("b", "") })
				for range 1000 { // the relay goes on only later
					runtime.Gosched()
				}
			}
		}})
		t.Cleanup(c.leave)
		c.subscribe("a", "")
		time.Sleep(time.Minute)
		handled.Wait()
		c.want("of two subscribes", "error unavailable,error unavailable")
	})
}
