package accept

import (
	"context"
	"net"
	"net/http"
	"testing"
	"time"
)

// acceptPipe adds a connection to a table, as its listener does.
func acceptPipe(t *testing.T, table *Table) *Conn {
	t.Helper()
	client, server := net.Pipe()
	t.Cleanup(func() { _ = client.Close() })
	table.add(server)
	return table.find(server)
}

// The first stream of a connection uses its slot; each other one has its own.
// When the last one ends, the connection keeps one slot, and may be closed in
// favor of another connection again.
func TestStreamsOfAConnection(t *testing.T) {
	slots := NewSlots(3)
	table := NewTable(Config{Slots: slots})
	c := acceptPipe(t, table)
	want := func(comment string, used int) {
		t.Helper()
		if n := slots.Used(); n != used {
			t.Errorf("%s, %d slots are in use, want %d", comment, n, used)
		}
	}
	add := func(want bool) {
		t.Helper()
		if _, ok := c.AddStream(slots); ok != want {
			t.Errorf("a stream: %v, want %v", ok, want)
		}
	}
	want("without streams", 1)
	add(true)
	want("with one stream", 1)
	add(true)
	add(true)
	want("with three streams", 3)
	add(false)
	c.EndStream(slots, OwnPlaces)
	want("after the end of a stream", 2)
	c.EndStream(slots, OwnPlaces)
	c.EndStream(slots, OwnPlaces)
	want("after the end of all streams", 1)
	c.since = c.since.Add(-patience)
	for range 3 {
		acceptPipe(t, table)
	}
	if table.find(c.net) != nil {
		t.Error("the connection without streams is not closed in favor of another one")
	}
}

// A connection with streams is not closed in favor of another one. Connections
// that are idle are closed in favor of a stream.
func TestStreamsAreNotIdle(t *testing.T) {
	slots := NewSlots(2)
	table := NewTable(Config{Slots: slots})
	busy, idle := acceptPipe(t, table), acceptPipe(t, table)
	if _, ok := busy.AddStream(slots); !ok {
		t.Fatal("there is no slot for the first stream")
	}
	if _, ok := busy.AddStream(slots); !ok || table.find(idle.net) != nil {
		t.Errorf("a stream does not get the slot of an idle connection: %v", ok)
	}
	busy.since = time.Time{}
	if acceptPipe(t, table); table.find(busy.net) == nil {
		t.Error("a connection with streams is closed in favor of another one")
	}
}

// If a connection ends before its streams, each of them frees its own slot.
func TestConnectionEndsBeforeItsStreams(t *testing.T) {
	slots := NewSlots(10)
	table := NewTable(Config{Slots: slots})
	c := acceptPipe(t, table)
	for range 3 {
		c.AddStream(slots)
	}
	table.changed(c.net, http.StateClosed)
	if n := slots.Used(); n != 3 {
		t.Errorf("%d slots are in use by three streams", n)
	}
	if _, ok := c.AddStream(slots); ok {
		t.Error("a connection that is closed gets a stream")
	}
	for range 3 {
		c.EndStream(slots, OwnPlaces)
	}
	if n := slots.Used(); n != 0 {
		t.Errorf("%d slots are in use at the end", n)
	}
}

// One stream at a time uses the place of the connection in the limits of its
// address. Only the first one is not newer than the connection.
func TestLentPlace(t *testing.T) {
	slots := NewSlots(10)
	c := acceptPipe(t, NewTable(Config{Slots: slots}))
	add := func(want StreamUse) StreamUse {
		t.Helper()
		use, ok := c.AddStream(slots)
		if !ok || use != want {
			t.Errorf("a stream uses %v (%v), want %v", use, ok, want)
		}
		return use
	}
	first, second := add(FirstPlace), add(OwnPlaces)
	c.EndStream(slots, first)
	lent := add(LentPlace)
	c.EndStream(slots, second)
	third := add(OwnPlaces)
	c.EndStream(slots, lent)
	c.EndStream(slots, third)
	add(LentPlace)
}

// The end of the streams closes the connections that have had any. No further
// stream begins.
func TestEndStreams(t *testing.T) {
	slots := NewSlots(10)
	table := NewTable(Config{Slots: slots})
	streaming, other := acceptPipe(t, table), acceptPipe(t, table)
	use, _ := streaming.AddStream(slots)
	streaming.EndStream(slots, use)
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	table.AwaitStreams(short)
	if short.Err() == nil {
		t.Error("a connection that has had a stream is not waited for")
	}
	table.EndStreams()
	if _, err := streaming.net.Write(nil); err == nil {
		t.Error("a connection that has had a stream is open")
	}
	if _, ok := other.AddStream(slots); ok {
		t.Error("another stream begins")
	}
	table.changed(streaming.net, http.StateClosed)
	table.AwaitStreams(t.Context())
}
