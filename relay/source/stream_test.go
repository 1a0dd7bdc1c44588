package source_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
	"sidecast/relay/relaytest/redistest"
	"sidecast/relay/source"
	"sidecast/relay/stream"
)

func (r *recorder) Nudge(channel []byte, hasPayload bool) {
	r.add(fmt.Sprintf("nudge %s %v", channel, hasPayload))
}
func (r *recorder) Event(channel []byte) { r.add(fmt.Sprintf("event %s", channel)) }

// streamsOf returns streams through a client that belongs to the test.
func streamsOf(t testing.TB, addr string, protocol int, cfg source.Config) (stream.Store, *redis.Client) {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, Protocol: protocol})
	t.Cleanup(func() { _ = client.Close() })
	return source.NewStreams(client, cfg), client
}

func TestStreams(t *testing.T) {
	t.Parallel()
	inMemory := startEmbedded(t, "127.0.0.1:0")
	server := redistest.Start(t)
	for _, tt := range []struct {
		name, addr string
		protocol   int
		added      int64 // the reported number of entries ever added, of which there were 5
	}{
		{"Redis, RESP2", server.Addr, 2, 5}, {"Redis, RESP3", server.Addr, 3, 5},
		{"in memory, RESP2", inMemory.Addr(), 2, -1}, {"in memory, RESP3", inMemory.Addr(), 3, -1},
	} {
		t.Run(tt.name, func(t *testing.T) { testStreams(t, tt.addr, tt.protocol, tt.added) })
	}
}

func testStreams(t *testing.T, addr string, protocol int, added int64) {
	channel := fmt.Sprint("order:", protocol)
	names := access.NewNames("app:", "")
	streams, client := streamsOf(t, addr, protocol, source.Config{Names: names, MaxPayload: 10})
	page, err := streams.Read(t.Context(), channel, stream.ID{}, 5)
	if err != nil || len(page.Entries) > 0 || page.More || page.State == nil || page.State.Exists {
		t.Fatalf("a stream that does not exist is %+v, %v", page, err)
	}
	var ids []stream.ID
	for _, payload := range []string{"1", "22", "\xff\x00\r\n", "12345678901", "5"} {
		id, err := streams.Append(t.Context(), channel, []byte(payload))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	page, err = streams.Read(t.Context(), channel, ids[1], 2)
	if err != nil || len(page.Entries) != 3 || !page.More || page.State != nil {
		t.Fatalf("after the second are %+v, %v", page, err)
	}
	if e := page.Entries; string(e[1].Payload) != "\xff\x00\r\n" || e[1].ID != ids[2] || e[1].TooLarge || !e[2].TooLarge {
		t.Errorf("after the second are %+v", e)
	}
	client.XDel(t.Context(), "app:"+channel, ids[1].String(), ids[4].String())
	page, err = streams.Read(t.Context(), channel, ids[1], 10)
	if err != nil || len(page.Entries) != 2 || page.More || page.State == nil {
		t.Fatalf("after the deleted one are %+v, %v", page, err)
	}
	want := stream.State{Exists: true, Last: ids[4], Tail: page.Entries[1].Cursor, Length: 3, Added: added}
	if added >= 0 {
		want.First = stream.NewEntry(ids[0], []string{stream.PayloadField, "1"}, 0).Cursor
	}
	if *page.State != want || want.Tail.ID != ids[3] {
		t.Errorf("the state is %+v, want %+v", *page.State, want)
	}
	if state, err := streams.State(t.Context(), channel); err != nil || state != want {
		t.Errorf("the state is %+v, %v, want %+v", state, err, want)
	}
	behind, err := streams.Behind(t.Context(), []stream.Place{
		{Channel: channel, ID: ids[2]}, {Channel: channel, ID: ids[3]}, {Channel: "nothing"},
	})
	if err != nil || fmt.Sprint(behind) != "[true false false]" {
		t.Errorf("behind: %v, %v", behind, err)
	}

	for n, want := range map[int][]stream.ID{1: ids[3:4], 2: ids[2:4], 100: {ids[0], ids[2], ids[3]}} {
		entries, err := streams.Newest(t.Context(), channel, n)
		if !slices.EqualFunc(entries, want, func(e stream.Entry, id stream.ID) bool { return e.ID == id }) || err != nil {
			t.Errorf("the newest %d are %+v, %v", n, entries, err)
		}
	}

	client.XTrimMaxLen(t.Context(), "app:"+channel, 0)
	if entries, err := streams.Newest(t.Context(), channel, 5); len(entries) > 0 || err != nil {
		t.Errorf("the newest of no entries are %+v, %v", entries, err)
	}
	want = stream.State{Exists: true, Last: ids[4], Added: added}
	if state, err := streams.State(t.Context(), channel); err != nil || state != want {
		t.Errorf("the state of the empty stream is %+v, %v, want %+v", state, err, want)
	}

	client.Set(t.Context(), "app:string", "x", 0)
	if _, err := streams.Read(t.Context(), "string", stream.ID{}, 1); !errors.Is(err, stream.ErrNoStream) {
		t.Errorf("reading a string: %v", err)
	}
	if _, err := streams.State(t.Context(), "string"); !errors.Is(err, stream.ErrNoStream) {
		t.Errorf("reading a string: %v", err)
	}
	if _, err := streams.Newest(t.Context(), "string", 1); !errors.Is(err, stream.ErrNoStream) {
		t.Errorf("reading a string: %v", err)
	}
	if entries, err := streams.Newest(t.Context(), "absent", 1); len(entries) > 0 || err != nil {
		t.Errorf("the newest of no stream are %+v, %v", entries, err)
	}
	if _, err := streams.Append(t.Context(), "string", nil); !errors.Is(err, stream.ErrNoStream) {
		t.Errorf("adding to a string: %v", err)
	}
	if _, err := streams.Append(t.Context(), "sidecast:x", nil); !errors.Is(err, source.ErrReserved) {
		t.Errorf("adding to a reserved name: %v", err)
	}
}

func TestStreamsWhileRedisIsDown(t *testing.T) {
	t.Parallel()
	streams, _ := streamsOf(t, redistest.FreeAddr(t), 2, source.Config{})
	_, err := streams.State(t.Context(), "a")
	if !errors.Is(err, source.ErrUnavailable) || errors.Is(err, stream.ErrNoStream) {
		t.Errorf("reading without Redis returned %v", err)
	}
	if _, err := streams.Append(t.Context(), "a", nil); !errors.Is(err, source.ErrUnavailable) {
		t.Errorf("adding without Redis returned %v", err)
	}
}

// TestNudges checks that a message on a durable channel is a nudge, whichever
// pattern matches it, and that keyspace events are delivered if the server
// sends them.
func TestNudges(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--notify-keyspace-events", "Kt")
	l := startLive(t, server.Addr, []string{"order:[1-5]*", "*"}, func(c *source.Config) {
		c.Durable, c.Names, c.MaxPayload = c.Patterns[:1], access.NewNames("app:", ""), 5
	})
	for _, payload := range []string{"", "x", "too large"} {
		server.CLI("PUBLISH", "app:order:1", payload)
	}
	server.CLI("PUBLISH", "app:order:9", "live")
	l.awaitEvent(t, "order:9=live", 1)
	l.expectEvents(t, "online", "nudge order:1 false", "nudge order:1 true", "nudge order:1 true", "order:9=live")
	eventually(t, "events", func() bool {
		server.CLI("XADD", "app:order:2", "*", "data", "x")
		return count(l.allEvents(), "event order:2") > 0
	})
	server.CLI("XADD", "app:order:9", "*", "data", "x")
	server.CLI("SET", "app:order:3", "x")
	server.CLI("PUBLISH", "app:order:9", "end")
	l.awaitEvent(t, "order:9=end", 1)
	if n := count(l.allEvents(), "event order:9") + count(l.allEvents(), "event order:3"); n > 0 {
		t.Errorf("%d events are about other keys", n)
	}
}

// TestKeyspaceEventsDenied checks that the relay works without the right to
// keyspace events, and does not warn.
func TestKeyspaceEventsDenied(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	server.CLI("ACL", "SETUSER", "relay", "on", ">pw", "~*", "&order:*", "&sidecast:*", "+@all")
	l := startLive(t, server.Addr, []string{"order:*"}, func(c *source.Config) {
		c.Durable, c.Server.Username, c.Server.Password = c.Patterns, "relay", "pw"
	})
	l.awaitLog(t, "redis refuses keyspace events")
	l.expectNoWarnings(t)
}

// TestStreamsInCluster checks that each stream is read and written at its
// master, also after its slot has moved.
func TestStreamsInCluster(t *testing.T) {
	t.Parallel()
	c := startCluster(t, longNodeTimeout)
	l := startLive(t, "", []string{"order:*"}, c.server, func(cfg *source.Config) { cfg.Durable = cfg.Patterns })
	streams := l.Streams()
	last := make(map[string]stream.ID)
	add := func() {
		t.Helper()
		for i := range 20 {
			channel := fmt.Sprint("order:", i)
			id, err := streams.Append(t.Context(), channel, []byte("x"))
			if err != nil {
				t.Fatalf("adding to %s: %v", channel, err)
			}
			if from, ok := last[channel]; ok {
				page, err := streams.Read(t.Context(), channel, from, 5)
				if err != nil || len(page.Entries) != 2 || page.State != nil {
					t.Fatalf("reading %s: %+v, %v", channel, page, err)
				}
			}
			last[channel] = id
		}
	}
	add()
	l.awaitEvent(t, "nudge order:19 false", 1)
	masters := c.masters(t, c.nodes[0])
	c.reshard(t, masters[1], masters[2], 5461)
	add()
	places := []stream.Place{}
	for channel, id := range last {
		places = append(places, stream.Place{Channel: channel, ID: id})
	}
	eventually(t, "no stream to be behind, when go-redis has learned of the move", func() bool {
		behind, err := streams.Behind(t.Context(), places)
		return err == nil && !strings.Contains(fmt.Sprint(behind), "true")
	})
}
