package relay_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// texts returns the payloads of the messages, and the reasons of the gaps, that
// a client received.
func (c *testClient) texts() (list []string) {
	for _, e := range c.receive() {
		switch e.kind {
		case "message":
			list = append(list, string(e.payload))
		case "gap":
			list = append(list, e.reason)
		}
	}
	if c.fault != nil {
		c.t.Error(c.fault)
	}
	return list
}

// Messages that wait for their batch are delivered whole and in order, however
// many there are, although the source reuses its memory.
func TestBatchKeepsOrder(t *testing.T) {
	for _, sizes := range [][]int{{5}, {5, 5, 5}, {0, 5, 1024, 5}, {5, 1025, 5}, {70_000, 5, 70_000}} {
		for _, count := range []int{1, 15, 16, 17, 40} {
			h, clients := newAudience(t, 1, protocol.Raw{})
			memory := make([]byte, 100_000)
			var want []string
			for i := range count {
				payload := memory[:sizes[i%len(sizes)]]
				for k := range payload {
					payload[k] = 'a' + byte(i%26)
				}
				want = append(want, string(payload))
				name := []byte("a")
				h.Publish(name, payload)
				name[0] = 'b'
				clear(payload)
			}
			h.Flush()
			if got := clients[0].texts(); !slices.Equal(got, want) {
				t.Errorf("%d messages of %v bytes: received %d, or not in order", count, sizes, len(got))
			}
		}
	}
}

// A gap takes the place of the message that was too large.
func TestBatchKeepsGapsInPlace(t *testing.T) {
	h, clients := newAudience(t, 1, protocol.V1{})
	var want []string
	for i := range 40 {
		if i%3 == 1 {
			h.Oversize([]byte("a"))
			want = append(want, "too_large")
		} else {
			h.Publish([]byte("a"), fmt.Append(nil, i))
			want = append(want, fmt.Sprint(i))
		}
	}
	h.Flush()
	if got := clients[0].texts(); !slices.Equal(got, want) {
		t.Errorf("received %v, want %v", got, want)
	}
}

// A client receives nothing that the source published before it subscribed,
// although that may wait for its batch, and everything after.
func TestBatchPrecedesNewSubscriptions(t *testing.T) {
	h, clients := newAudience(t, 1, protocol.Raw{})
	begin := []int{0}
	for i := range 5 { // few enough deliveries for the source itself
		o := connectOptions{protocol: protocol.Raw{}, room: outboxtest.Unlimited}
		later := h.connect(o)
		o.channels = []string{"a"}
		clients, begin = append(clients, h.connect(o), later), append(begin, i, i+1)
		h.Publish([]byte("a"), fmt.Append(nil, i))
		later.session.Subscribe(requests(o.channels...))
	}
	h.Flush()
	for i, c := range clients {
		if got, want := strings.Join(c.texts(), ","), numbers(begin[i], 4); got != want {
			t.Errorf("client %d receives %s, want %s", i, got, want)
		}
	}
}
