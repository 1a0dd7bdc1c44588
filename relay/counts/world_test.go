package counts

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sidecast/relay/access"
)

// A world is a few relays on one Redis in memory, whose clock the test sets.
type world struct {
	t      testing.TB
	rand   *rand.Rand
	db     *miniredis.Miniredis
	client *redis.Client
	now    time.Duration // since the world began
	relays []*relay
	topic  *topic
}

// A relay is one in a world.
type relay struct {
	*Counts
	world  *world
	name   string
	skew   time.Duration // of its clock
	linked bool
	deaf   bool          // it does not receive what others publish
	wakeAt time.Duration // when its next pass is, apart from news
	ranAt  time.Duration
	woken  bool

	all, watching map[string]int   // subscriptions by channel
	told          map[string][]int // what clients were told, by channel
	toldAt        map[string]time.Duration
}

var testNames = access.NewNames("app:", "")

func newWorld(t testing.TB, seed uint64) *world {
	db := miniredis.RunT(t)
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), db: db,
		client: redis.NewClient(&redis.Options{Addr: db.Addr(), Protocol: 2, DisableIdentity: true}),
	}
	t.Cleanup(func() { _ = w.client.Close() })
	w.topic = newTopic(t, w.client, testNames.Internal("counts"))
	return w
}

// start adds a relay.
func (w *world) start(name string) *relay {
	r := &relay{
		world: w, name: name, skew: time.Duration(w.rand.Int64N(int64(time.Minute))), all: map[string]int{},
		watching: map[string]int{}, told: map[string][]int{}, toldAt: map[string]time.Duration{},
	}
	r.Counts = New(Config{
		Names: testNames, Link: func() Link { return r }, Notify: r.notify,
		Now: func() time.Duration { return r.skew + w.now },
	})
	r.ranAt = w.now - time.Second
	w.relays = append(w.relays, r)
	r.link(true)
	return r
}

// Do implements [Link].
func (r *relay) Do(ctx context.Context, commands func(context.Context, redis.UniversalClient) error) error {
	if !r.linked {
		return errors.New("the link is down")
	}
	return commands(ctx, r.world.client)
}

// link connects a relay to Redis, or disconnects it.
func (r *relay) link(up bool) {
	if r.linked == up {
		return
	}
	if r.linked = up; up {
		r.Online(!r.deaf)
	} else {
		r.Offline()
	}
}

// join and leave are those of a client that is told the number, or not.
func (r *relay) join(channel string, told bool) { r.change(channel, told, 1) }

func (r *relay) leave(channel string, told bool) { r.change(channel, told, -1) }

func (r *relay) change(channel string, told bool, by int) {
	r.all[channel] += by
	if told {
		r.watching[channel] += by
	}
	r.Changed(channel, r.all[channel], r.watching[channel], by)
	for _, m := range []map[string]int{r.all, r.watching} {
		if m[channel] == 0 {
			delete(m, channel)
		}
	}
	if r.watching[channel] == 0 {
		delete(r.told, channel)
	}
}

func (r *relay) notify(channel string, count int) {
	w := r.world
	if r.watching[channel] == 0 {
		w.t.Errorf("%v: relay %s tells the number of %s to nobody", w.now, r.name, channel)
	}
	before, again := r.toldAt[channel]
	if list := r.told[channel]; again && len(list) > 0 {
		if least := r.cfg.interval(list[len(list)-1]); w.now-before < least {
			w.t.Errorf("%v: relay %s tells %d on %s, %v after %d", w.now, r.name, count, channel, w.now-before, list[len(list)-1])
		}
	}
	r.told[channel], r.toldAt[channel] = append(r.told[channel], count), w.now
}

// last returns what clients were last told, or -1.
func (r *relay) last(channel string) int {
	if list := r.told[channel]; len(list) > 0 {
		return list[len(list)-1]
	}
	return -1
}

// step lets a time pass and all relays work, as Run does.
func (w *world) step(d time.Duration) {
	w.now += d
	w.db.FastForward(d)
	for _, i := range w.rand.Perm(len(w.relays)) {
		w.deliver()
		r := w.relays[i]
		select {
		case <-r.wake:
			r.woken = true
		default:
		}
		if r.woken && w.now >= r.ranAt+r.cfg.pace || w.now >= r.wakeAt {
			r.woken, r.ranAt = false, w.now
			r.wakeAt = r.worker.pass(context.Background())
			if r.wakeAt != never {
				r.wakeAt -= r.skew
			}
		}
	}
}

// pass lets some time pass in small steps.
func (w *world) pass(d time.Duration) {
	for end := w.now + d; w.now < end; {
		w.step(250 * time.Millisecond)
	}
}

// deliver gives what was published to the relays.
func (w *world) deliver() {
	for _, payload := range w.topic.take(w.t) {
		for _, r := range w.relays {
			if r.linked && !r.deaf {
				r.Receive([]byte(payload))
			}
		}
	}
}

// kill ends a relay without notice.
func (w *world) kill(r *relay) {
	w.relays = slices.DeleteFunc(w.relays, func(other *relay) bool { return other == r })
	r.linked = false
}

// stop ends a relay.
func (w *world) stop(r *relay) {
	if err := r.Close(context.Background()); err != nil && r.linked {
		w.t.Error(err)
	}
	w.kill(r)
}

// sums returns the subscriptions of all relays.
func (w *world) sums() map[string]int {
	sums := map[string]int{}
	for _, r := range w.relays {
		for name, n := range r.all {
			sums[name] += n
		}
	}
	return sums
}

// want fails unless all clients know the right numbers, and the application
// reads them.
func (w *world) want() {
	w.t.Helper()
	sums := w.sums()
	for _, r := range w.relays {
		for name := range r.watching {
			if got := r.last(name); got != sums[name] {
				w.t.Errorf("%v: the clients of relay %s were told that %s has %v subscriptions, want %d", w.now, r.name, name, r.told[name], sums[name])
			}
		}
		got, err := r.Channels(context.Background(), "")
		if err != nil || !maps.Equal(got, sums) {
			w.t.Errorf("%v: relay %s returns %v, want %v, %v", w.now, r.name, got, sums, err)
		}
		for name, n := range sums {
			if got, err := r.Subscriptions(context.Background(), name); err != nil || got != n {
				w.t.Errorf("%v: relay %s returns %d of %s, want %d, %v", w.now, r.name, got, name, n, err)
			}
		}
	}
}

// wantKeys fails unless Redis has the hashes of these relays and no others, all
// with an expiry.
func (w *world) wantKeys() {
	w.t.Helper()
	want := []string{testNames.Internal("counts")}
	var ids []string
	for _, r := range w.relays {
		want = append(want, r.key(r.relay))
		ids = append(ids, r.relay)
		if ttl := w.db.TTL(r.key(r.relay)); ttl <= 0 {
			w.t.Errorf("%v: the numbers of relay %s expire in %v", w.now, r.name, ttl)
		}
	}
	slices.Sort(want)
	slices.Sort(ids)
	if got := w.db.Keys(); !slices.Equal(got, want) {
		w.t.Errorf("%v: the keys are %q, want %q", w.now, got, want)
	}
	if got, err := w.client.ZRange(context.Background(), testNames.Internal("counts"), 0, -1).Result(); err != nil || !slices.Equal(slices.Sorted(slices.Values(got)), ids) {
		w.t.Errorf("%v: the list has %q, want %q, %v", w.now, got, ids, err)
	}
}

// wipe lets Redis lose all data.
func (w *world) wipe() { w.db.FlushAll() }

// A topic receives what the relays publish.
type topic struct {
	client  *redis.Client
	channel string

	mu     sync.Mutex
	list   []string
	synced chan struct{}
}

const syncMessage = "sync"

func newTopic(t testing.TB, client *redis.Client, channel string) *topic {
	c := &topic{client: client, channel: channel, synced: make(chan struct{})}
	sub := client.Subscribe(context.Background(), channel)
	if _, err := sub.Receive(context.Background()); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for {
			m, err := sub.ReceiveMessage(context.Background())
			switch {
			case err != nil:
				return
			case m.Payload == syncMessage:
				c.synced <- struct{}{}
				continue
			}
			c.mu.Lock()
			c.list = append(c.list, m.Payload)
			c.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		_ = sub.Close()
		reading.Wait()
	})
	return c
}

// take returns everything that was published.
func (c *topic) take(t testing.TB) []string {
	if err := c.client.Publish(context.Background(), c.channel, syncMessage).Err(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-c.synced:
	case <-time.After(time.Minute):
		t.Fatal("what was published is not received")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	list := c.list
	c.list = nil
	return list
}

// name returns the name of channel i.
func name(i int) string { return fmt.Sprint("room:", i) }
