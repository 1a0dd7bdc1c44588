package e2e_test

import (
	"slices"
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
	const timeout = time.Second
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: group.SentinelAddrs(), MaxRetries: -1, ContextTimeoutEnabled: true,
		DialTimeout: timeout, ReadTimeout: timeout, WriteTimeout: timeout,
	})
	defer client.Close()
	staying := listenFleet(t, relay, 4, names...)
	// The size of the payloads distinguishes the publishers.
	p := relaytest.NewPublisher(relaytest.AppendTo(client, 0), relaytest.Payloads{Sizes: []int{64}})
	stops := []func(){traffic(t, p, names, 10*time.Millisecond)}
	for i, node := range group.Nodes { // as backends that do not follow the failover
		direct := relaytest.NewRedis(node.Addr, timeout)
		defer direct.Close()
		only := relaytest.NewPublisher(relaytest.AppendTo(direct, 0), relaytest.Payloads{Sizes: []int{65 + i}})
		stops = append(stops, traffic(t, only, names, 10*time.Millisecond))
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
	current := slices.Clone(staying)
	for _, connections := range sessions[len(staying):] {
		current = append(current, connections[len(connections)-1])
	}
	finish(t, p, current)
	kept, lost, gaps := 0, 0, 0
	for _, channel := range names {
		remaining := stored(t, client, channel)
		kept += len(remaining)
		for _, listener := range sessions {
			l, g := checkListener(t, channel, remaining, listener)
			lost, gaps = lost+l, gaps+g
		}
	}
	t.Logf("%d entries remain; clients received %d lost entries and %d gaps", kept, lost, gaps)
	if kept < 300 || lost == 0 || gaps == 0 {
		t.Error("too few entries, lost entries or gaps for this test to show anything")
	}
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

// checkListener compares everything that the sessions of a listener received on
// a channel with the entries that remain in the stream. The listener must
// receive these in order and once, and none may be missing without a gap. After
// an entry that a failover lost it must receive a gap before the next entry
// that remains. checkListener returns how many lost entries and how many gaps
// the listener received.
func checkListener(
	t testing.TB, channel string, remaining []string, sessions []*relaytest.Client,
) (lost, gaps int) {
	t.Helper()
	client := sessions[len(sessions)-1]
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
