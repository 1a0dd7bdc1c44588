package relay_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"sidecast/relay"
	"sidecast/relay/outbox"
	"sidecast/relay/outbox/outboxtest"
	"sidecast/relay/protocol"
)

// What waits to be taken in together is told whole and in order, however much it is, and although the source's memory
// holds other things by then.
func TestArrivalsKeepTheirOrder(t *testing.T) {
	for _, sizes := range [][]int{{5}, {5, 5, 5}, {0, 5, 1024, 5}, {5, 1025, 5}, {70_000, 5, 70_000}} {
		for _, count := range []int{1, 15, 16, 17, 40} {
			hub, sockets := audience(t, 1, protocol.Raw{})
			memory := make([]byte, 100_000)
			var want strings.Builder
			for i := range count {
				payload := memory[:sizes[i%len(sizes)]]
				for k := range payload {
					payload[k] = 'a' + byte(i%26)
				}
				want.Write(append(protocol.NewFrame(protocol.OpText, len(payload)), payload...))
				name := []byte("a")
				hub.Publish(name, payload)
				name[0] = 'b'
				clear(payload)
			}
			hub.Flush()
			if got := sockets[0].Got(); string(got) != want.String() {
				t.Errorf("of %d messages of %v bytes %d bytes are told, want %d", count, sizes, len(got), want.Len())
			}
		}
	}
}

// A gap comes in the place of the message that was too large.
func TestArrivalsKeepGapsInPlace(t *testing.T) {
	hub, sockets := audience(t, 1, protocol.V1{})
	for i := range 40 {
		if i%3 == 1 {
			hub.Oversize([]byte("a"))
		} else {
			hub.Publish([]byte("a"), []byte("hello"))
		}
	}
	hub.Flush()
	got := string(sockets[0].Got())
	for i := range 40 {
		want := "hello"
		if i%3 == 1 {
			want = "too_large"
		}
		_, rest, ok := strings.Cut(got, want)
		if before := got[:len(got)-len(rest)]; !ok || strings.Contains(before[:max(len(before)-len(want), 0)], "hello") {
			t.Fatalf("entry %d is not %s, but what follows is %.200q", i, want, got)
		}
		got = rest
	}
}

// Who joins hears nothing that the source brought before, although that may wait to be taken in, and everything after.
func TestArrivalsComeBeforeWhoJoins(t *testing.T) {
	hub, early := audience(t, 1, protocol.Raw{})
	budget := outbox.NewBudget(1<<20, 1<<30, time.Minute, nil)
	var want []string
	var sockets []*outboxtest.FakeSocket
	for i := range 9 { // few enough deliveries for the source itself
		socket, outbox := outboxtest.NewFakeSocket(outboxtest.Unlimited), new(outbox.Outbox)
		outbox.Init(budget, socket, nil)
		hub.Join(relay.Client{Protocol: protocol.Raw{}, Outbox: outbox}).Subscribe([]string{"a"})
		sockets, want = append(sockets, socket), append(want, "")
		text := fmt.Sprint(i, ".")
		for k := range want {
			want[k] += string(append(protocol.NewFrame(protocol.OpText, len(text)), text...))
		}
		hub.Publish([]byte("a"), []byte(text))
	}
	hub.Flush()
	for i, socket := range append(sockets, early[0]) {
		if got := socket.Got(); string(got) != want[i%len(want)] {
			t.Errorf("who joined before message %d hears %q", i, bytes.TrimSpace(got))
		}
	}
}
