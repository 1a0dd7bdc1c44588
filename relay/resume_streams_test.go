package relay_test

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/stats"
	"sidecast/relay/stream"
)

// cursorOf returns the cursor of the entry with number n, if 0 was added first.
func (h *durableHub) cursorOf(n int) string {
	text, _ := h.store.log[n].entry.AppendText(nil)
	return string(text)
}

// A client that is ahead of the relay learns that a failover took back its
// entry, although a lookup found it before.
func TestDurableEndOfAnOlderLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dying atomic.Bool
		var reads atomic.Int32
		h := newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "read" && dying.Load() && reads.Add(1) > 1 {
				return errStore // Redis dies after the lookup
			}
			return nil
		})
		h.newCursor("a")
		h.subscriber("a", "")
		h.add("a", 1, 5)
		h.nudge("a")
		h.add("a", 6, 10) // their nudges are lost or late
		dying.Store(true)
		c := h.client(outboxtest.Unlimited)
		c.subscribe("a", h.cursorOf(10)) // from another relay, which has read them
		time.Sleep(time.Second)
		h.Offline()
		h.store.rollBack("a", 5)
		dying.Store(false)
		h.Online(1)
		time.Sleep(2 * time.Second)
		h.add("a", 11, 12) // these get the ids of 6 and 7
		h.nudge("a")
		time.Sleep(2 * time.Second)
		if got, _ := c.received(); !strings.Contains(got, "gap reset") {
			t.Errorf("a client at 10, after a failover to 5, received %q: no gap of the channel", got)
		}
	})
}

// Pages that were read for clients ahead of the relay's place do not outlive the
// state of the stream.
func TestDurableStalePagesAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		h.newCursor("a")
		h.subscriber("a", "")          // the relay is at 0
		h.store.fill("a", 1, 10, 9000) // nudges are lost
		cursor := h.cursorOf(4)
		c := h.client(0) // from another relay; reads nothing yet
		c.subscribe("a", cursor)
		h.Offline()
		h.store.rollBack("a", 4) // loses 7 to 10
		h.add("a", 11, 12)
		h.Online(1)
		time.Sleep(time.Second) // the relay has read 1 to 6, 11, 12 without a gap
		d := h.subscriber("a", cursor)
		time.Sleep(time.Second)
		d.want("a client that comes a second after the failover", "subscribed true,5,6,11,12")
	})
}

// A heavyStore fails reads of more than max bytes, as a timeout does.
type heavyStore struct {
	*storeConn
	max int
}

func (s *heavyStore) Read(ctx context.Context, channel string, from stream.ID, limit int) (stream.Page, error) {
	p, err := s.storeConn.Read(ctx, channel, from, limit)
	n := 0
	for _, e := range p.Entries {
		n += len(e.Payload)
	}
	if n > s.max {
		time.Sleep(time.Second)
		return stream.Page{}, errStore
	}
	return p, err
}

// A client whose page is too large for the timeout gets smaller ones.
func TestDurablePageTooLargeForTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newPlainStore()
		streams := &heavyStore{storeConn: &storeConn{store: s}, max: 4 << 20}
		h := &durableHub{testHub: newTestHub(t, relay.HubConfig{
			Shards: 1, PingInterval: time.Hour, Streams: func() stream.Store { return streams },
		}), store: s}
		t.Cleanup(h.start())
		h.Online(1)
		synctest.Wait()
		cursor := h.newCursor("a")
		h.store.fill("a", 1, 40, 500_000)
		h.subscriber("a", "")
		for n := 41; n < 300; n++ { // small ones: the limit rises to 512
			h.add("a", n, n)
			h.nudge("a")
		}
		for range 3 {
			c := h.subscriber("a", cursor)
			time.Sleep(30 * time.Second)
			if got, _ := c.received(); got == "error unavailable" {
				t.Error("unavailable, although pages of 8 entries can be read")
			}
			c.leave()
		}
	})
}

// However many clients wait while reads fail, the relay retries at one pace.
func TestDurableReadsWhileFailing(t *testing.T) {
	for _, n := range []int{1, 100, 1000} {
		for _, kind := range []string{"lookup", "place"} {
			t.Run(fmt.Sprint(n, kind), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var calls atomic.Int32
					var fail atomic.Bool
					h := newDurableHub(t, func(_ context.Context, op, _ string) error {
						if op == "response" || !fail.Load() {
							return nil
						}
						calls.Add(1)
						time.Sleep(200 * time.Microsecond)
						return errStore
					})
					cursor := h.newCursor("a")
					h.store.fill("a", 1, 200, 1000)
					if kind == "lookup" {
						h.subscriber("a", "") // the relay has a place
					}
					fail.Store(true)
					for range n {
						h.client(outboxtest.Unlimited).handle(`{"type":"subscribe","channels":[{"channel":"a","after":%q}]}`, cursor)
						time.Sleep(time.Second / 4 / time.Duration(n))
					}
					calls.Store(0)
					time.Sleep(9 * time.Second)
					if got := calls.Load(); got > 80 { // 4 reads and as many lookups in a second
						t.Errorf("%d reads in 9 s", got)
					}
				})
			})
		}
	}
}

// A gap that no entries follow tells the client where it is, so that it does not
// get the same gap whenever it returns.
func TestDurableGapOnlyOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newDurableHub(t, nil)
		cursor := h.newCursor("a")
		h.add("a", 1, 5)
		h.store.trim("a", 0)
		for _, want := range []string{"subscribed false,gap trimmed", "subscribed true"} {
			c := h.subscriber("a", cursor)
			cursor = c.want("a client that returns", want)
			c.leave()
		}
	})
}

// A stream is created again while a client that has everything waits to be told
// so. The client gets one gap, not another one when the relay reads on.
func TestDurableGapNotTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := math.MinInt
		var h *durableHub
		h = newDurableHub(t, func(_ context.Context, op, _ string) error {
			if op == "read" {
				if reads++; reads == 3 { // for the client, by the relay, for the client
					h.store.reset("a")
					h.add("a", 1, 1)
				}
			}
			return nil
		})
		first := h.subscriber("a", "")
		h.add("a", 1, 3)
		h.nudge("a")
		cursor := first.want("at first", "subscribed false,1,2,3")
		first.leave()
		h.add("a", 4, 4)
		h.subscriber("a", "")
		h.store.remove("a", 0)
		reads = 0
		c := h.subscriber("a", cursor)
		h.nudge("a")
		c.want("a client that resumes", "subscribed false,gap reset")
		if reads < 4 {
			t.Errorf("%d reads", reads)
		}
	})
}

// However many clients resume, and whatever filled the page cache before, the
// relay reads what they missed about once.
func TestDurableReadsAreShared(t *testing.T) {
	for _, test := range []struct {
		why     string
		missed  int
		hogs    int // channels that were busy before, whose entries fill the cache
		clients int
		most    int32 // reads
	}{
		{"more than a few pages", 2000, 0, 50, 40},
		{"each from another place", 200, 0, 200, 20},
		{"the cache is full of other channels", 5, 20, 100, 5},
	} {
		t.Run(test.why, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var reads atomic.Int32
				s := newPlainStore()
				conn := &storeConn{store: s, pass: func(_ context.Context, op, _ string) error {
					if op == "read" {
						reads.Add(1)
					}
					return nil
				}}
				h := &durableHub{testHub: newTestHub(t, relay.HubConfig{
					Shards: 1, PingInterval: time.Hour, Streams: func() stream.Store { return conn }, PageCacheBytes: 16 << 20,
				}), store: s}
				t.Cleanup(h.start())
				h.Online(1)
				h.add("a", 0, 0)
				h.subscriber("a", "")
				for i := range test.hogs {
					name := fmt.Sprint("hog", i)
					h.subscriber(name, "")
					s.fill(name, 1, 300, 1000)
					h.nudge(name)
				}
				s.fill("a", 1, test.missed, 100)
				h.nudge("a")
				var cursors []string
				for _, r := range s.log {
					if text, _ := r.entry.AppendText(nil); r.channel == "a" {
						cursors = append(cursors, string(text))
					}
				}
				reads.Store(0)
				for i := range test.clients {
					from := i % test.missed
					if test.missed > 1000 {
						from = 0
					}
					c := h.client(outboxtest.Unlimited)
					c.handle(`{"type":"subscribe","channels":[{"channel":"a","after":%q}]}`, cursors[from])
				}
				synctest.Wait()
				if n := h.stats.Resumes[stats.ResumeRecovered].Load(); n != uint64(test.clients) {
					t.Errorf("%d of %d clients are recovered", n, test.clients)
				}
				if n := reads.Load(); n > test.most {
					t.Errorf("%d reads, want %d at most", n, test.most)
				}
			})
		})
	}
}
