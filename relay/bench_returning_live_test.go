package relay_test

import (
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/history"
	"sidecast/relay/outbox/outboxtest"
)

// returningLive has the benchmarks of clients that return to live channels.
var returningLive = []returning{
	{"live-beside-replays/0", liveBesideReplays(0)},
	{"live-beside-replays/100", liveBesideReplays(100)},
	{"live-beside-replays/1000", liveBesideReplays(1000)},
	{"live-beside-replays/5000", liveBesideReplays(5000)},
	{"hostile-cursors/1-entries/0-clients", hostileCursors(1, 0)},
	{"hostile-cursors/1-entries/1-clients", hostileCursors(1, 1)},
	{"hostile-cursors/1-entries/10-clients", hostileCursors(1, 10)},
	{"hostile-cursors/1-entries/100-clients", hostileCursors(1, 100)},
	{"hostile-cursors/128-entries/1-clients", hostileCursors(128, 1)},
	{"hostile-cursors/128-entries/10-clients", hostileCursors(128, 10)},
	{"hostile-cursors/128-entries/100-clients", hostileCursors(128, 100)},
	{"storm/1000", returningStorm(1000)},
	{"storm/20000", returningStorm(20_000)},
	{"storm-of-128-channels/1000", returningTogether(1000)},
	{"replay-memory/live-1-channel", liveReplayMemory(1000, 1)},
	{"replay-memory/live-40-channels", liveReplayMemory(25, 40)},
	{"never-online/never", neverOnline(false)},
	{"never-online/once", neverOnline(true)},
}

// liveBesideReplays measures the delay on one live channel while n clients
// resume on another one, where they missed 240 KB.
func liveBesideReplays(n int) func(b *testing.B) {
	return func(b *testing.B) {
		h := newReturningHub(b, looseBudget(), nil)
		after := h.cursorNow("busy")
		h.publishSized("busy", 1, 300, 800)
		c := h.crowd(n, "#300:", connectOptions{room: outboxtest.Unlimited})
		h.whileServed(b, c, subscribe(request("busy", after)), h.listen())
	}
}

// returningStorm measures how long the source needs to publish one message
// while n clients resume at once.
func returningStorm(n int) func(b *testing.B) {
	return func(b *testing.B) {
		h := newReturningHub(b, looseBudget(), nil)
		after := h.cursorNow("busy")
		h.publishSized("busy", 1, 50, 200)
		c := h.crowd(n, "#50:", connectOptions{room: outboxtest.Unlimited})
		h.whileServed(b, c, subscribe(request("busy", after)), h.publishOther)
	}
}

// returningTogether measures how long the source needs to publish one message
// while n clients resume at once with one cursor for 128 channels.
func returningTogether(n int) func(b *testing.B) {
	return func(b *testing.B) {
		h := newReturningHub(b, looseBudget(), nil)
		marker, names := h.cursorNow("busy"), make([]string, 128)
		for i := range names {
			names[i] = fmt.Sprint("channel", i)
		}
		for i := range 500 * len(names) {
			if i == 499*len(names) {
				h.mark()
				marker = h.cursorNow("busy")
			}
			h.publishSized(names[i%len(names)], i, i, 20)
		}
		at, done := place{Anchor: relay.Anchor{Cursor: marker}}, make(chan struct{})
		var running sync.WaitGroup
		for range n {
			c := h.connect(connectOptions{room: outboxtest.Unlimited})
			b.Cleanup(c.leave)
			running.Go(func() { c.session.SubscribeTogether(at.requests(names)) })
		}
		go func() { running.Wait(); close(done) }()
		reportEachMillisecond(b, done, h.publishOther)
	}
}

// publishOther returns how long the source needs for a message without
// subscribers.
func (h *testHub) publishOther() time.Duration {
	began := time.Now()
	h.Publish([]byte("other"), []byte("hello"))
	h.Flush()
	return time.Since(began)
}

const (
	// hostileHistory is how many messages a search may pass: so many fill the
	// history with its default size.
	hostileHistory = 900_000
	// hostilePublished is how many messages are published at most while hostile
	// clients send commands. The history has room for them: if it dropped the
	// others, the searches would end early.
	hostilePublished = 2_000_000
	hostileTime      = 3 * time.Second
	// hostilePause makes 20 commands per second.
	hostilePause = 50 * time.Millisecond
)

// hostileCursors measures how many messages the source can publish while
// clients send cursors with a known marker and a wrong check: a search for the
// message passes all messages of the channel. Such a cursor is in each entry of
// a command.
func hostileCursors(entries, clients int) func(b *testing.B) {
	return func(b *testing.B) {
		h := newReturningHub(b, looseBudget(), nil, func(cfg *relay.HubConfig) { cfg.HistoryBytes = 256 << 20 })
		cursor := forge(b, h.cursorNow("busy"))
		h.publishSized("busy", 1, hostileHistory, 0)
		requests, last := []string{request("busy", cursor)}, "busy" // busy first: the clients begin with a search
		for i := range entries - 1 {
			last = fmt.Sprint("quiet", i)
			h.publishSized(last, 1, 1, 0)
			requests = append(requests, request(last, cursor))
		}
		command := subscribe(requests...)
		stop, answered := make(chan struct{}), new(atomic.Int64)
		var running sync.WaitGroup
		var busy atomic.Int64
		for range clients {
			busy.Add(1)
			running.Go(func() {
				defer busy.Add(-1)
				h.attack(command, last, stop, answered)
			})
		}
		time.Sleep(2 * hostilePause)
		before, began := answered.Load(), time.Now()
		var d delays
		for time.Since(began) < hostileTime && len(d) < hostilePublished {
			d = append(d, h.publishOther())
		}
		took := time.Since(began)
		close(stop)
		b.ReportMetric(float64(len(d))/took.Seconds(), "messages/s")
		b.ReportMetric(float64(answered.Load()-before)/took.Seconds(), "answers/s")
		d.report(b)
		waitFor(&running)
		b.ReportMetric(float64(busy.Load()), "unserved")
	}
}

// forge returns a cursor of the first message after a marker, which has another
// check.
func forge(b *testing.B, marker string) string {
	c, ok := history.ParseCursor(marker)
	if !ok {
		b.Fatalf("%q is not a cursor", marker)
	}
	c.Index, c.Check = 1, 12345
	text, _ := c.AppendText(nil)
	return string(text)
}

// attack sends a command 20 times per second, or as soon as its last channel is
// answered. The client connects again for each: to unsubscribe from 128
// channels takes 128 commands.
func (h *testHub) attack(command, last string, stop <-chan struct{}, answered *atomic.Int64) {
	for {
		c := h.connect(connectOptions{room: outboxtest.Unlimited})
		seen := c.socket.Await(strconv.Quote(last))
		c.handle("%s", command)
		select {
		case <-seen:
			answered.Add(1)
		case <-stop:
		case <-time.After(patience):
		}
		c.leave()
		select {
		case <-stop:
			return
		case <-time.After(hostilePause):
		}
	}
}

// liveReplayMemory measures the memory of clients that resume on some live
// channels and do not read, without what their outboxes are charged for.
func liveReplayMemory(clients, channels int) func(b *testing.B) {
	return func(b *testing.B) {
		h := newReturningHub(b, looseBudget(), nil)
		after := h.cursorNow("busy") // a marker, which is a position on all channels
		var requests []string
		for i := range channels {
			name := fmt.Sprint("c", i)
			h.publishSized(name, 1, 600, 800)
			requests = append(requests, request(name, after))
		}
		h.replayMemory(b, clients, func(int) string { return subscribe(requests...) })
	}
}

// replayMemory reports how much memory clients need that send a command, which
// is made for each, and do not read.
func (h *testHub) replayMemory(b *testing.B, clients int, command func(i int) string) {
	c := h.crowd(clients, "nothing", connectOptions{})
	used := func() int64 {
		cached, _, _ := h.PageCache()
		return h.budget.Used() + h.HistoryBytes() + cached
	}
	settle(used)
	before, charged := memory(), used()
	for i, one := range c.clients {
		text := command(i)
		c.running.Go(func() { one.handle("%s", text) })
	}
	settle(used)
	grown, charges := memory()-before, int(used()-charged)
	b.ReportMetric(float64(grown-charges)/float64(clients), "uncharged-B/client")
	b.ReportMetric(float64(charges)/float64(clients), "charged-B/client")
	b.ReportMetric(float64(c.evicted()), "evicted")
}

// neverOnline measures what is left of 128,000 channels whose subscribers have
// left before there was a marker: before there was ever a link to Redis, or
// after there was one for a moment.
func neverOnline(once bool) func(b *testing.B) {
	return func(b *testing.B) {
		const rounds, perClient = 1000, 128
		h := newTestHub(b, relay.HubConfig{
			Shards: 2, Budget: looseBudget(), PingInterval: time.Hour, HistoryBytes: 64 << 20, HistoryAge: time.Hour,
		})
		b.Cleanup(h.start())
		if once {
			h.Online(1)
			h.Offline()
		}
		before := memory()
		for round := range rounds {
			var requests []string
			for i := range perClient {
				requests = append(requests, request(fmt.Sprintf("name-%d-%d", round, i), ""))
			}
			c := h.connect(connectOptions{room: outboxtest.Unlimited})
			c.handle("%s", subscribe(requests...))
			c.leave()
		}
		b.ReportMetric(float64(memory()-before)/(rounds*perClient), "B/channel")
		b.ReportMetric(float64(h.HistoryBytes())/(rounds*perClient), "charged-B/channel")
	}
}
