package relay_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/accept"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
	"sidecast/relay/relaytest"
	"sidecast/relay/ws"
)

// The memory that clients can cause is within the formula of the package
// comment, if all parts are full at once: outboxes of clients that do not read,
// replays that wait, the history, the page cache, and messages that have not
// arrived completely. A tenth more is allowed, because the runtime rounds up.
func TestMemoryIsBounded(t *testing.T) {
	const (
		total, history, cache = 16 << 20, 8 << 20, 4 << 20
		stuck, resuming, half = 300, 300, 300
		channels              = 50 // of each client that resumes
	)
	s, _ := countedStore()
	h := newReturningHub(t, outbox.NewBudget(1<<20, total, time.Hour, nil), s, func(cfg *relay.HubConfig) {
		cfg.Shards, cfg.HistoryBytes, cfg.PageCacheBytes, cfg.MaxChannels = 1, history, cache, channels
	})
	s.fill("s:d", 1, 4000, 1024)
	durable, _ := s.log[0].entry.AppendText(nil)
	empty := memory()

	h.publishSized("busy", 1, 10_000, 1024)
	reader := h.client(outboxtest.Unlimited)
	reader.socket.Await("nothing") // so that it keeps no bytes
	reader.handle("%s", subscribe(request("s:d", string(durable))))
	for i := range stuck {
		c := h.client(len(handshake))
		c.handle("%s", subscribe(request(fmt.Sprint("user:", i), "")))
		h.Publish(fmt.Append(nil, "user:", i), []byte(strings.Repeat("x", 64<<10)))
	}
	h.Flush()
	live := h.cursorNow("busy") // the history has only the newest messages
	h.publishSized("busy", 1, 4000, 1024)
	for range resuming {
		var requests []string
		for i := range channels {
			switch {
			case i == 0:
				requests = append(requests, request("busy", live))
			case i == 1:
				requests = append(requests, request("s:d", string(durable)))
			default:
				requests = append(requests, request(fmt.Sprint("s:other", i), string(durable)))
			}
		}
		h.client(len(handshake)).handle("%s", subscribe(requests...))
	}
	h.sendHalfMessages(half)
	settle(func() int64 { return h.budget.Used() + h.HistoryBytes() })

	cached, _, _ := h.PageCache()
	used, clients := memory()-empty, stuck+resuming+half
	t.Logf("%d KiB of heap: outboxes %d, of which replays %d; history %d, pages %d; %d resumes wait", used>>10,
		h.budget.Used()>>10, h.budget.ReplayBytes()>>10, h.HistoryBytes()>>10, cached>>10, h.stats.Resuming.Load())
	if h.budget.Used() < total*9/10 || h.HistoryBytes() < history*9/10 || cached < cache*9/10 || h.stats.Resuming.Load() < resuming {
		t.Error("not all of the memory is filled")
	}
	if most := (total+history+cache)*11/10 + clients*(6<<10) + resuming*channels<<10 + half*2*maxInbound; used > most {
		t.Errorf("%d bytes are used, of %d", used, most)
	}
}

// maxInbound is the largest message of a client, in bytes.
const maxInbound = 16 << 10

// sendHalfMessages connects n clients, each of which does not finish a message.
func (h *testHub) sendHalfMessages(n int) {
	h.t.Helper()
	server := httptest.NewServer(ws.New(ws.Config{
		Hub: h.Hub, Budget: h.budget, Slots: accept.NewSlots(n), Stats: h.stats, Logger: slog.New(slog.DiscardHandler),
		MaxInbound: maxInbound, DefaultChannels: []string{"elsewhere"}, Protocols: map[string]protocol.Protocol{"": protocol.Raw{}},
	}))
	h.t.Cleanup(server.Close)
	dialer := relaytest.Dialer{URL: "ws" + strings.TrimPrefix(server.URL, "http"), Offer: []string{}}
	for range n {
		c, err := dialer.Dial(h.t.Context())
		if err != nil {
			h.t.Fatal(err)
		}
		h.t.Cleanup(c.Drop)
		if err := c.SendFrame(false, relaytest.OpText, make([]byte, maxInbound-1)); err != nil {
			h.t.Fatal(err)
		}
		if err := c.Barrier(h.t.Context()); err != nil {
			h.t.Fatal(err)
		}
	}
}
