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

// Where Sentinels fail over while the old master lives, what it took last is forgotten. Who heard some of that is told; all
// that is left was heard by everybody who is not told of a gap in its place, also by those who come back.
func TestDurableSentinelFailover(t *testing.T) {
	t.Parallel()
	redistest.Require(t, "redis-cli", "redis-tools")
	group := redistest.StartGroup(t)
	relay := relaytest.Start(t, with(with(durable(group.Nodes[0], nil),
		"SIDECAST_REDIS_URL", group.URL()), "SIDECAST_REDIS_MODE", "sentinel"))
	relay.AwaitReady()
	names := channels("order", 3)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: redistest.MasterName, SentinelAddrs: group.SentinelAddrs(), MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	defer client.Close()
	staying := dialFleet(t, &relaytest.Dialer{URL: relay.URL()}, 4)
	if err := staying.Subscribe(t.Context(), names...); err != nil {
		t.Fatal(err)
	}
	stop := appendAlways(t, client, "followed ", names)
	for _, node := range group.Nodes { // by those who have not heard of a failover
		stray := relaytest.NewRedis(node.Addr, time.Second)
		defer stray.Close()
		stop = both(stop, appendAlways(t, stray, "to "+node.Addr+" ", names))
	}
	var sessions [][]*relaytest.Client // of each person
	for _, client := range staying {
		sessions = append(sessions, []*relaytest.Client{client})
	}
	for range or(1, 10) {
		hears(t, staying[0], len(only(staying[0], relaytest.KindMessage))+50)
		leaving := listen(t, relay, names...)
		hears(t, leaving, 20)
		leaving.Drop()
		group.Failover()
		again, _ := back(t, relay, leaving.Cursors()...)
		sessions = append(sessions, []*relaytest.Client{leaving, again})
		hears(t, again, 20)
	}
	stop()
	kept, forgotten, told := 0, 0, 0
	for _, channel := range names {
		end := appendEnd(t, client, channel)
		left := stored(t, client, channel)
		kept += len(left)
		for _, person := range sessions {
			f, n := holdsKept(t, channel, left, end, person)
			forgotten, told = forgotten+f, told+n
		}
	}
	t.Logf("%d entries are left; of those that are not, %d were heard; %d gaps were told", kept, forgotten, told)
	if kept < 300 || forgotten == 0 || told == 0 {
		t.Error("too little happened")
	}
}

// appendAlways adds numbered entries to the streams until stop is called, whatever becomes of them.
func appendAlways(t testing.TB, client redis.UniversalClient, prefix string, names []string) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var adding sync.WaitGroup
	for _, channel := range names {
		adding.Go(func() {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for n := 1; ctx.Err() == nil; n++ {
				appendTo(ctx, client, channel, fmt.Sprint(prefix, n))
				<-tick.C
			}
		})
	}
	stop = func() {
		cancel()
		adding.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func both(f, g func()) func() {
	return func() {
		f()
		g()
	}
}

func appendTo(ctx context.Context, client redis.UniversalClient, channel, payload string) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_, err := relaytest.AppendTo(client, 0)(ctx, channel, []byte(payload))
	return err == nil
}

// appendEnd adds an entry once Redis takes it, and returns its payload.
func appendEnd(t testing.TB, client redis.UniversalClient, channel string) string {
	t.Helper()
	limit := time.Now().Add(relaytest.Patience)
	for n := 0; time.Now().Before(limit); n++ {
		if end := fmt.Sprint("end ", n); appendTo(t.Context(), client, channel, end) {
			return end
		}
	}
	t.Fatalf("nothing can be added to %s", channel)
	return ""
}

// stored returns the payloads that are in a stream.
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

// holdsKept waits until a person has heard the end of a channel, and holds what all their sessions heard against what is left
// of the stream: that comes in order, once, and nothing of it is missing without a gap. What is not left was forgotten by a
// failover, of which they were told before anything that is left follows. It returns how much that was, and how often they
// were told of a gap.
func holdsKept(t testing.TB, channel string, left []string, end string, sessions []*relaytest.Client) (forgotten, told int) {
	t.Helper()
	last := sessions[len(sessions)-1]
	_, err := last.Await(t.Context(), func(relaytest.Event) bool { return slices.Contains(heardOn(last, channel), end) })
	if err != nil {
		t.Fatalf("awaiting the end of %s: %v", channel, err)
	}
	places := make(map[string]int)
	for i, payload := range left {
		places[payload] = i
	}
	next, open, stray := 0, true, "" // what must come next, unless there may be a hole
	for _, e := range heardIn(channel, sessions) {
		place, isLeft := places[e.Data]
		switch {
		case e.Kind == relaytest.KindSubscribed && e.Recovered:
		case e.Kind != relaytest.KindMessage:
			open, stray = true, ""
			if e.Kind == relaytest.KindGap {
				told++
			}
		case !isLeft:
			stray = e.Data
			forgotten++
		case stray != "":
			t.Fatalf("%s on %s heard %s, which is forgotten, and then %s without a gap", last.Name(), channel, stray, e.Data)
		case place < next:
			t.Fatalf("%s on %s heard %s again, or late", last.Name(), channel, e.Data)
		case place > next && !open:
			t.Fatalf("%s on %s did not hear %d entries before %s", last.Name(), channel, place-next, e.Data)
		default:
			next, open = place+1, false
		}
	}
	return forgotten, told
}

// heardIn returns the messages, gaps and answers on a channel, over several sessions.
func heardIn(channel string, sessions []*relaytest.Client) (events []relaytest.Event) {
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
