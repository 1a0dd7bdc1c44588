package relay_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// The state of a channel has its listeners by protocol, and the time of its last
// message.
func TestChannelState(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{HistoryBytes: 1 << 20, HistoryAge: time.Minute})
		defer h.start()()
		if got := h.ChannelState("a"); got != (relay.ChannelState{Offline: true}) {
			t.Errorf("an unknown channel: %+v", got)
		}
		h.Online(1)
		for _, p := range []protocol.Protocol{protocol.V1{}, protocol.V1{}, protocol.Raw{}} {
			h.connect(connectOptions{protocol: p, room: outboxtest.Unlimited, channels: []string{"a"}})
		}
		time.Sleep(5 * time.Second)
		at := time.Now()
		h.Publish([]byte("a"), []byte("x"))
		time.Sleep(3 * time.Second) // still in the batch
		got := h.ChannelState("a")
		if got.Listeners[protocol.V1ID] != 2 || got.Listeners[protocol.RawID] != 1 || got.Joining != 0 || got.Offline {
			t.Errorf("with three clients: %+v", got)
		}
		h.Flush()
		if off := h.ChannelState("a").Last.Sub(at).Abs(); off > 5*time.Second {
			t.Errorf("the last message came at %v, want %v", got.Last, at)
		}
		time.Sleep(2 * time.Minute)
		if got := h.ChannelState("a"); !got.Last.IsZero() || got.Listeners[protocol.V1ID] != 2 {
			t.Errorf("after the history has dropped it: %+v", got)
		}
	})
}

// All channels with subscribers or messages are found, once.
func TestScanChannels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newTestHub(t, relay.HubConfig{HistoryBytes: 1 << 20, HistoryAge: time.Minute})
		defer h.start()()
		h.Online(1)
		want := map[string]string{}
		for i := range 300 {
			name := fmt.Sprintf("message%d", i)
			h.Publish([]byte(name), []byte("x"))
			want[name] = "0 true"
		}
		h.Flush()
		for i := range 100 {
			name := fmt.Sprintf("listener%d", i)
			h.connect(connectOptions{room: outboxtest.Unlimited, channels: []string{name, "all"}})
			want[name] = "1 false"
		}
		want["all"] = "100 false"
		all := h.ScanChannels(t.Context(), func(name string, subscriptions int, messages bool) {
			// The hub is not locked.
			if h.ChannelState("all").Listeners == [protocol.NumProtocols]int{} {
				t.Error("the channel of all clients has no listeners")
			}
			if got := fmt.Sprint(subscriptions, messages); want[name] != got {
				t.Errorf("%s has %s, want %s", name, got, want[name])
			}
			delete(want, name)
		})
		if !all || len(want) > 0 {
			t.Errorf("complete: %v; not found: %v", all, want)
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if h.ScanChannels(ended, func(string, int, bool) {}) {
			t.Error("a scan that is canceled says that it is complete")
		}
	})
}

// BenchmarkScanChannels measures what the fan-out waits for at most while all
// channels are scanned: how long the hub is locked at a time.
func BenchmarkScanChannels(b *testing.B) {
	h := newTestHub(b, relay.HubConfig{HistoryBytes: 256 << 20, HistoryAge: time.Hour})
	h.Online(1)
	for i := range 200_000 {
		h.Publish(fmt.Appendf(nil, "channel:%d", i), []byte("x"))
	}
	h.Flush()
	for b.Loop() {
		var visits int
		h.ScanChannels(b.Context(), func(string, int, bool) { visits++ })
		if visits != 200_000 {
			b.Fatal(visits)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200_000*64, "ns/lock")
}
