package e2e_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// Where what a client missed ends and what comes next begins, nothing is left out and nothing comes twice, however fast
// entries are added and however often clients come back, to one relay and to another.
func TestDurableJoinsWhileAdding(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	relays := []*relaytest.Process{startDurable(t, server, nil), startDurable(t, server, map[string]string{"SIDECAST_MAX_PAYLOAD_BYTES": "1MiB"})}
	ctx, cancel := context.WithTimeout(t.Context(), or(4*time.Second, time.Minute))
	defer cancel()
	added := 0
	var adding, clients sync.WaitGroup
	adding.Go(func() { added = addFast(ctx, t, server, "order:1") })
	travellers := make([]*joiner, 12)
	for i := range travellers {
		travellers[i] = &joiner{t: t, relays: relays, random: rand.New(rand.NewPCG(uint64(i), 1))}
		clients.Go(func() { travellers[i].travel(ctx) })
	}
	adding.Wait()
	clients.Wait()
	add(server, "order:1", "end")
	returns := 0
	for _, j := range travellers {
		j.finish(added)
		returns += j.returns
	}
	t.Logf("%d entries, %d returns", added, returns)
	if added < 500 || returns < 50 {
		t.Error("too little happened")
	}
}

// addFast adds entries named by their numbers until ctx ends, and returns how many. Payloads differ in size.
func addFast(ctx context.Context, t *testing.T, server *redistest.Server, channel string) (n int) {
	client := relaytest.NewRedis(server.Addr, time.Second)
	defer client.Close()
	filler := make([]byte, 3000)
	for i := range filler {
		filler[i] = '.'
	}
	pace := time.NewTicker(time.Millisecond)
	defer pace.Stop()
	for ; ctx.Err() == nil; <-pace.C {
		pipe := client.Pipeline()
		for range 1 + n%7 {
			n++
			pipe.Do(context.Background(), "XADD", channel, "*", "data", fmt.Sprintf("%d %s", n, filler[:n*37%len(filler)]))
		}
		if n%5 > 0 {
			pipe.Publish(context.Background(), channel, "")
		}
		if _, err := pipe.Exec(context.Background()); err != nil {
			t.Errorf("adding: %v", err)
			return n
		}
	}
	return n
}

// A joiner is one client that comes back again and again.
type joiner struct {
	t       *testing.T
	relays  []*relaytest.Process
	random  *rand.Rand
	wish    relaytest.Wish
	next    int // the number that it has to hear next; 0: any
	ended   bool
	returns int
}

func (j *joiner) connect(ctx context.Context) *relaytest.Client {
	relay := j.relays[j.random.IntN(len(j.relays))]
	client, err := (&relaytest.Dialer{URL: relay.URL()}).Dial(ctx)
	if err != nil {
		return nil
	}
	j.wish.Channel = "order:1"
	if err := client.SubscribeFrom(ctx, j.wish); err != nil && ctx.Err() == nil {
		j.t.Errorf("coming back: %v", err)
	}
	return client
}

func (j *joiner) travel(ctx context.Context) {
	for ctx.Err() == nil {
		client := j.connect(ctx)
		if client == nil {
			return
		}
		j.returns++
		stay, cancel := context.WithTimeout(ctx, time.Duration(j.random.IntN(150))*time.Millisecond)
		select {
		case <-client.Done():
		case <-stay.Done():
		}
		cancel()
		client.Abort()
		<-client.Done()
		j.hear(client)
	}
}

// hear judges all that a client has heard, which has to go on where the connection before it ended.
func (j *joiner) hear(client *relaytest.Client) {
	for _, e := range client.Events() {
		switch e.Kind {
		case relaytest.KindSubscribed:
			if j.wish.After != "" && !e.Recovered {
				j.t.Errorf("a client was at %d and was told of a gap", j.next)
			}
			j.wish.After = e.Cursor
		case relaytest.KindGap:
			j.t.Errorf("a client was at %d and was told: %v", j.next, e)
		case relaytest.KindMessage:
			j.message(e)
		}
	}
}

func (j *joiner) message(e relaytest.Event) {
	j.wish.After = e.Cursor
	if e.Data == "end" {
		j.ended = true
		return
	}
	var number int
	if _, err := fmt.Sscan(e.Data, &number); err != nil || j.next != 0 && number != j.next {
		j.t.Errorf("a client heard %.20q where %d comes next", e.Data, j.next)
	}
	j.next = number + 1
}

// finish lets the client come back once more and hear everything.
func (j *joiner) finish(added int) {
	client := j.connect(j.t.Context())
	if client == nil {
		j.t.Fatal("a relay takes no connections")
	}
	defer client.Drop()
	_, err := client.Await(j.t.Context(), func(e relaytest.Event) bool { return e.Kind == relaytest.KindMessage && e.Data == "end" })
	j.hear(client)
	if err != nil || !j.ended || j.next != 0 && j.next != added+1 {
		j.t.Errorf("a client ends before %d, and there are %d: %v", j.next, added, err)
	}
}
