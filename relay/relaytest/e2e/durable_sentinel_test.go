package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestDurableSentinelFailover: if Sentinels fail over while the old master is
// running, the last entries that it accepted are lost. A client that received
// some of them receives a gap. Every client, also one that resumes, receives
// all entries that remain, or a gap in their place.
func TestDurableSentinelFailover(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "redis-cli", "redis-tools")
	group := redistest.StartGroup(t)
	relay := start(t, durableSettings(group.Nodes[0], map[string]string{
		"SIDECAST_REDIS_URL": group.URL(), "SIDECAST_REDIS_MODE": "sentinel",
	}))
	names := channels("order", 3)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: group.SentinelAddrs(),
		MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	staying := listenFleet(t, relay, 4, names...)
	stops := []func(){keepAppending(t, client, "to the master ", names)}
	for _, node := range group.Nodes { // as backends that do not follow the failover
		direct := relaytest.NewRedis(node.Addr, time.Second)
		defer direct.Close()
		stops = append(stops, keepAppending(t, direct, "to "+node.Addr+" ", names))
	}
	var sessions [][]*relaytest.Client // per listener, its connections in order
	for _, client := range staying {
		sessions = append(sessions, []*relaytest.Client{client})
	}
	for range orLong(1, 10) {
		hears(t, staying[0], len(eventsOf(staying[0], relaytest.KindMessage))+50)
		leaving := listen(t, relay, names...)
		hears(t, leaving, 20)
		leaving.Drop()
		group.Failover()
		again, _ := back(t, relay, leaving.Cursors()...)
		sessions = append(sessions, []*relaytest.Client{leaving, again})
		hears(t, again, 20)
	}
	for _, stop := range stops {
		stop()
	}
	kept, lost, gaps := 0, 0, 0
	for _, channel := range names {
		last := appendLast(t, client, channel)
		remaining := stored(t, client, channel)
		kept += len(remaining)
		for _, listener := range sessions {
			l, g := checkListener(t, channel, remaining, last, listener)
			lost, gaps = lost+l, gaps+g
		}
	}
	t.Logf("%d entries remain; clients received %d lost entries and %d gaps", kept, lost, gaps)
	if kept < 300 || lost == 0 || gaps == 0 {
		t.Error("too few entries, lost entries or gaps for this test to show anything")
	}
}

// keepAppending appends numbered entries to the streams until stop is called,
// and ignores errors.
func keepAppending(t testing.TB, client redis.UniversalClient, prefix string, names []string) (stop func()) {
	return background(t, func(ctx context.Context) {
		var appending sync.WaitGroup
		for _, channel := range names {
			appending.Go(func() {
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				for n := 1; ctx.Err() == nil; n++ {
					appendTo(ctx, client, channel, fmt.Sprint(prefix, n))
					<-tick.C
				}
			})
		}
		appending.Wait()
	})
}

// appendTo appends one entry and reports whether Redis confirmed it.
func appendTo(ctx context.Context, client redis.UniversalClient, channel, payload string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := relaytest.AppendTo(client, 0)(ctx, channel, []byte(payload))
	return err == nil
}

// appendLast appends the last entry, again until Redis confirms it, and returns
// its payload.
func appendLast(t testing.TB, client redis.UniversalClient, channel string) (last string) {
	t.Helper()
	n := 0
	eventually(t, func() string {
		n++
		if last = fmt.Sprint("last ", n); !appendTo(t.Context(), client, channel, last) {
			return "Redis confirms no entry of " + channel
		}
		return ""
	})
	return last
}

// stored returns the payloads of all entries of a stream.
func stored(t testing.TB, client redis.UniversalClient, channel string) (payloads []string) {
	t.Helper()
	entries, err := client.XRange(t.Context(), channel, "-", "+").Result()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		payloads = append(payloads, entry.Values["data"].(string))
	}
	return payloads
}

// checkListener waits until a listener has received the last entry of a
// channel, and compares everything that its sessions received with the entries
// that remain in the stream. The listener must receive these in order and once,
// and none may be missing without a gap. After an entry that a failover lost it
// must receive a gap before the next entry that remains. checkListener returns
// how many lost entries and how many gaps the listener received.
func checkListener(
	t testing.TB, channel string, remaining []string, last string, sessions []*relaytest.Client,
) (lost, gaps int) {
	t.Helper()
	client := sessions[len(sessions)-1]
	_, err := client.Await(t.Context(), func(relaytest.Event) bool {
		return slices.Contains(receivedOn(client, channel), last)
	})
	if err != nil {
		t.Fatalf("awaiting the last entry of %s: %v", channel, err)
	}
	places := make(map[string]int)
	for i, payload := range remaining {
		places[payload] = i
	}
	next, holeAllowed := 0, true // the place of the next entry, and whether entries before it may be missing
	lostEntry := ""              // the last entry, if the failover lost it
	for _, e := range eventsIn(channel, sessions) {
		place, remains := places[e.Data]
		switch {
		case e.Kind == relaytest.KindSubscribed && e.Recovered:
		case e.Kind != relaytest.KindMessage:
			holeAllowed, lostEntry = true, ""
			if e.Kind == relaytest.KindGap {
				gaps++
			}
		case !remains:
			lostEntry = e.Data
			lost++
		case lostEntry != "":
			t.Fatalf("%s on %s received %s, which was lost, and then %s without a gap",
				client.Name(), channel, lostEntry, e.Data)
		case place < next:
			t.Fatalf("%s on %s received %s twice or out of order", client.Name(), channel, e.Data)
		case place > next && !holeAllowed:
			t.Fatalf("%s on %s missed %d entries before %s", client.Name(), channel, place-next, e.Data)
		default:
			next, holeAllowed = place+1, false
		}
	}
	return lost, gaps
}

// eventsIn returns the messages, gaps and subscribe answers on a channel, over
// several sessions.
func eventsIn(channel string, sessions []*relaytest.Client) (events []relaytest.Event) {
	kinds := []relaytest.Kind{relaytest.KindMessage, relaytest.KindGap, relaytest.KindSubscribed}
	for _, client := range sessions {
		for _, e := range client.Events() {
			if e.Channel == channel && slices.Contains(kinds, e.Kind) {
				events = append(events, e)
			}
		}
	}
	return events
}
