package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest"
	"sidecast/relay/relaytest/redistest"
)

// TestSincePages: pages load rows from the application's table and then join
// the stream with the id of the newest entry that the application had read
// before, while rows and entries are written 200 times a second. In every other
// round the relay is killed and starts again. At the end each page has what the
// table has. If the stream keeps its entries, no page has to load the rows a
// second time.
func TestSincePages(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	addr := redistest.FreeAddr(t)
	run := func() *relaytest.Process {
		return startDurable(t, server, map[string]string{"SIDECAST_LISTEN": addr, "SIDECAST_MAX_CONNECT_RATE_PER_IP": "0"})
	}
	relay := run()
	redis := relaytest.NewRedis(server.Addr, time.Second)
	t.Cleanup(func() { _ = redis.Close() })
	pages, again := 0, 0
	for round := range orLong(4, 20) {
		r := &sinceRound{
			redis: redis, dialer: &relaytest.Dialer{URL: relay.URL()}, channel: fmt.Sprintf("order:%d", round),
			maxLen: []int64{0, 0, 20, 20}[round%4], rows: make(map[int]int),
		}
		kill := func() {
			if round%2 == 1 {
				relay.Kill()
				relay = run()
			}
		}
		r.run(t, orLong(15, 50), kill)
		if pages += r.pages; r.maxLen > 0 {
			again += r.loads - r.pages
		} else if r.loads != r.pages {
			t.Errorf("round %d: %d pages loaded the rows %d times", round, r.pages, r.loads)
		}
	}
	t.Logf("%d pages; those of streams that are trimmed loaded the rows %d times more", pages, again)
}

// A sinceRound is a table of the application, a stream of its changes, and
// pages that show the table.
type sinceRound struct {
	redis   redis.UniversalClient
	dialer  *relaytest.Dialer
	channel string
	maxLen  int64

	mu           sync.Mutex
	rows         map[int]int
	pages, loads int
}

// A change is the payload of one entry.
type change struct {
	Row, Value int
	End        bool // it is the last one
}

// run opens pages while rows change, and calls kill once. Then it compares what
// the pages have with the table.
func (r *sinceRound) run(t *testing.T, pages int, kill func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	r.write(t, 0, false) // without a stream, no page can tell whether it misses something
	var working sync.WaitGroup
	stop := make(chan struct{})
	writing := make(chan struct{})
	go func() {
		defer close(writing)
		ticker := time.NewTicker(5 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				r.write(t, rand.IntN(50), false)
			case <-stop:
				return
			}
		}
	}()
	for range pages {
		working.Go(func() {
			time.Sleep(rand.N(1500 * time.Millisecond))
			if got, err := r.page(ctx); err != nil {
				t.Errorf("a page of %s: %v", r.channel, err)
			} else if !maps.Equal(got, r.rows) {
				t.Errorf("a page of %s has %v, want %v", r.channel, got, r.rows)
			}
		})
	}
	time.Sleep(time.Second)
	kill()
	time.Sleep(time.Second)
	close(stop)
	<-writing
	r.write(t, 0, true)
	working.Wait()
}

// write changes a row, and then adds the change to the stream: an entry that
// was there before its row would be lost for a page that reads between the two.
func (r *sinceRound) write(t *testing.T, row int, end bool) {
	r.mu.Lock()
	r.rows[row]++
	value := r.rows[row]
	r.mu.Unlock()
	payload, err := json.Marshal(change{row, value, end})
	if err == nil {
		entry := &redis.XAddArgs{Stream: r.channel, MaxLen: r.maxLen, Values: []any{"data", payload}}
		err = r.redis.XAdd(context.Background(), entry).Err()
	}
	if err == nil {
		err = r.redis.Publish(context.Background(), r.channel, "").Err()
	}
	if err != nil {
		t.Errorf("writing: %v", err)
	}
}

// load reads the id of the newest entry and then the rows.
func (r *sinceRound) load(ctx context.Context) (since string, rows map[int]int, err error) {
	newest, err := r.redis.XRevRangeN(ctx, r.channel, "+", "-", 1).Result()
	if err != nil || len(newest) == 0 {
		return "", nil, fmt.Errorf("reading the newest entry: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.loads++
	return newest[0].ID, maps.Clone(r.rows), nil
}

// page opens a page, and returns its rows after the last change.
func (r *sinceRound) page(ctx context.Context) (rows map[int]int, err error) {
	p := &sincePage{round: r, request: relaytest.ChannelRequest{Channel: r.channel}}
	if p.request.Since, p.rows, err = r.load(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.pages++
	r.mu.Unlock()
	for !p.ended && err == nil {
		err = p.connect(ctx)
	}
	return p.rows, err
}

// A sincePage is one page.
type sincePage struct {
	round   *sinceRound
	request relaytest.ChannelRequest
	rows    map[int]int
	ended   bool
}

// connect connects the page until the connection or the round ends.
func (p *sincePage) connect(ctx context.Context) error {
	client, err := p.round.dialer.Dial(ctx)
	if err != nil { // the relay is being restarted
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
			return nil
		}
	}
	defer client.Drop()
	last := client.Last()
	if err := client.SubscribeFrom(ctx, p.request); err != nil {
		return ctx.Err()
	}
	for !p.ended {
		e, err := client.AwaitAfter(ctx, last, func(e relaytest.Event) bool { return true })
		if err != nil || e.Kind == relaytest.KindEnd {
			return ctx.Err()
		}
		if err := p.receive(ctx, e); err != nil {
			return err
		}
		last = e
	}
	return nil
}

// receive applies a change, or loads the rows again if some may be missing.
func (p *sincePage) receive(ctx context.Context, e relaytest.Event) (err error) {
	switch e.Kind {
	case relaytest.KindMessage:
		var c change
		if err := json.Unmarshal([]byte(e.Data), &c); err != nil {
			return fmt.Errorf("decoding %q: %w", e.Data, err)
		}
		p.rows[c.Row], p.ended = max(p.rows[c.Row], c.Value), c.End
	case relaytest.KindGap:
		if e.Channel == "" { // of live channels: the page was there before the relay had a connection to Redis
			return nil
		}
		if _, p.rows, err = p.round.load(ctx); err != nil {
			return err
		}
	case relaytest.KindSubscribed:
	default:
		return nil
	}
	if e.Cursor != "" {
		p.request.After = e.Cursor
	}
	return nil
}
