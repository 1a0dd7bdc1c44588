package presence

import (
	"context"
	"encoding/json"
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
	"sidecast/relay/roster"
)

// A world is a few relays on one Redis in memory, whose clock the test sets.
type world struct {
	t      testing.TB
	rand   *rand.Rand
	client *redis.Client
	clock  func(time.Time) // sets that of Redis
	now    time.Duration   // since the world began
	began  time.Time       // by Redis's clock
	down   bool            // Redis is
	relays []*relay
	topic  *topic
	last   string // id of the last event that was read
	events []backendEvent
}

// A backendEvent is what the application reads from the stream of events.
type backendEvent struct{ kind, channel, user string }

// A relay is one in a world.
type relay struct {
	*Presence
	world  *world
	name   string
	skew   time.Duration // of its clock
	linked bool
	next   time.Duration
	tabs   map[[2]string]int // by channel and user
	views  map[string]*view  // of a client that watches, by channel
}

// A view is what a client knows that watches a channel.
type view struct {
	known bool
	seq   uint64
	part  int // of roster.Update
	users map[string]bool
	count int
}

var testNames = access.NewNames("app:", "")

// newWorld returns a world with a Redis in memory.
func newWorld(t testing.TB, seed uint64) *world {
	db := miniredis.RunT(t)
	return newWorldAt(t, seed, db.Addr(), simulatedBegin, func(_ *world, now time.Time) { db.SetTime(now) })
}

// simulatedBegin is when a world begins whose time is simulated.
var simulatedBegin = time.Unix(1_800_000_000, 0)

func newWorldAt(t testing.TB, seed uint64, addr string, began time.Time, clock func(*world, time.Time)) *world {
	w := &world{
		t: t, rand: rand.New(rand.NewPCG(seed, 1)), began: began, last: "0",
		client: redis.NewClient(&redis.Options{Addr: addr, Protocol: 2, DisableIdentity: true}),
	}
	t.Cleanup(func() { _ = w.client.Close() })
	w.clock = func(now time.Time) { clock(w, now) }
	w.clock(w.began)
	w.topic = newTopic(t, w.client, testNames.Internal("presence"))
	return w
}

// start adds a relay.
func (w *world) start(name string, cfg Config) *relay {
	r := &relay{
		world: w, name: name, skew: time.Duration(w.rand.Int64N(int64(time.Minute))),
		tabs: make(map[[2]string]int), views: make(map[string]*view),
	}
	cfg.Names, cfg.Joined, cfg.Left = testNames, true, true
	cfg.Now = func() time.Duration { return r.skew + w.now }
	cfg.Link = func() Link { return r }
	cfg.Notify = r.notify
	r.Presence = New(cfg)
	r.linked = !w.down
	w.relays = append(w.relays, r)
	if r.linked {
		r.Online(true)
	}
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
		r.Online(true)
	} else {
		r.Offline()
	}
	r.next = 0
}

// open and close are those of a page of a user.
func (r *relay) open(channel, user string) {
	r.tabs[[2]string{channel, user}]++
	r.Enter(channel, user, fmt.Appendf(nil, `{"name": "%s"}`, user))
	r.next = 0
}

func (r *relay) close(channel, user string) {
	key := [2]string{channel, user}
	if r.tabs[key]--; r.tabs[key] == 0 {
		delete(r.tabs, key)
	}
	r.Exit(channel, user)
	r.next = 0
}

// watch makes a client of the relay watch a channel.
func (r *relay) watch(channel string) *view {
	c, _, err := r.addWatcher(channel)
	if err != nil {
		r.world.t.Fatal(err)
	}
	v := &view{users: map[string]bool{}, part: len(r.views)%roster.Parts + 1}
	r.views[channel] = v
	if s := c.roster.Snapshot(roster.Member{User: "watcher"}); s.Members != nil {
		v.set(r.world.t, s.Members, s.Count)
		delete(v.users, "watcher")
		v.count--
	}
	v.seq = c.roster.Snapshot(roster.Member{}).Seq
	r.next = 0
	return v
}

func (r *relay) unwatch(channel string) {
	delete(r.views, channel)
	r.Unwatch(channel)
}

// notify is what a client receives. Each arrival and departure is news to it.
func (r *relay) notify(channel string, u roster.Update) {
	v, t := r.views[channel], r.world.t
	if v == nil || u.Seq <= v.seq || u.Part != 0 && u.Part != v.part {
		return
	}
	v.seq = u.Seq
	for _, c := range u.Changes {
		if v.users[c.User] == (c.Kind == roster.Joined) {
			t.Errorf("%v: relay %s says again about %s on %s: %c", r.world.now, r.name, c.User, channel, c.Kind)
		}
		if c.Kind == roster.Joined {
			v.users[c.User] = true
		} else {
			delete(v.users, c.User)
		}
		v.count = c.Count
	}
	if len(u.Changes) == 0 {
		v.set(t, u.Members, u.Count)
	}
}

// set replaces what a client knows.
func (v *view) set(t testing.TB, members []byte, count int) {
	v.known, v.count = true, count
	if members == nil {
		return
	}
	var list []struct{ User string }
	if err := json.Unmarshal(members, &list); err != nil {
		t.Fatalf("the list of members is %s: %v", members, err)
	}
	v.users = map[string]bool{}
	for _, m := range list {
		v.users[m.User] = true
	}
}

// step lets a time pass and all relays work.
func (w *world) step(d time.Duration) {
	w.now += d
	w.clock(w.began.Add(w.now))
	for _, i := range w.rand.Perm(len(w.relays)) {
		w.deliver()
		if r := w.relays[i]; r.next <= w.now {
			w.run(r)
		}
	}
	w.deliver()
	w.readEvents()
}

// run lets a relay work once.
func (w *world) run(r *relay) {
	next := r.worker.pass(context.Background())
	r.next = next - r.skew
	if next == never {
		r.next = never
	}
}

// deliver gives all changes that were published to the relays.
func (w *world) deliver() {
	for _, payload := range w.topic.take(w.t) {
		for _, r := range w.relays {
			if r.linked {
				r.Receive([]byte(payload))
				r.next = 0
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

// kill ends a relay without notice.
func (w *world) kill(r *relay) {
	w.relays = slices.DeleteFunc(w.relays, func(other *relay) bool { return other == r })
	r.linked = false
}

// shutDown ends a relay after its clients have left.
func (w *world) shutDown(r *relay) {
	if err := r.Close(context.Background()); err != nil && r.linked {
		w.t.Error(err)
	}
	w.kill(r)
}

// readEvents reads what the application reads.
func (w *world) readEvents() {
	if w.down {
		return
	}
	entries, err := w.client.XRange(context.Background(), testNames.Public("events"), "("+w.last, "+").Result()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, e := range entries {
		field := func(name string) string { s, _ := e.Values[name].(string); return s }
		w.last = e.ID
		w.events = append(w.events, backendEvent{field("kind"), field("channel"), field("user")})
	}
}

// members returns the members that the application reads.
func (w *world) members(channel string) []string {
	list, err := w.client.ZRangeArgs(context.Background(), redis.ZRangeArgs{
		Key: testNames.Public("presence:" + channel), ByScore: true, Start: w.began.Add(w.now).Unix(), Stop: "+inf",
	}).Result()
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// want fails unless these, and only these, are the members of a channel, in
// Redis and in the views of all clients.
func (w *world) want(channel string, users ...string) {
	w.t.Helper()
	slices.Sort(users)
	if got := slices.Sorted(slices.Values(w.members(channel))); !slices.Equal(got, users) {
		w.t.Errorf("%v: the members of %s are %q, want %q", w.now, channel, got, users)
	}
	for _, r := range w.relays {
		v := r.views[channel]
		if v == nil {
			continue
		}
		if got := slices.Sorted(maps.Keys(v.users)); !slices.Equal(got, users) {
			w.t.Errorf("%v: a client at relay %s knows the members %q of %s, want %q", w.now, r.name, got, channel, users)
		}
		if v.count != len(users) {
			w.t.Errorf("%v: a client at relay %s knows that %s has %d members, want %d", w.now, r.name, channel, v.count, len(users))
		}
	}
}

// wantEvents fails unless the application has received these events, as "joined
// user" or "left user", since the last call.
func (w *world) wantEvents(want ...string) {
	w.t.Helper()
	var got []string
	for _, e := range w.events {
		got = append(got, e.kind+" "+e.user)
	}
	w.events = nil
	if !slices.Equal(got, want) {
		w.t.Errorf("%v: the events are %q, want %q", w.now, got, want)
	}
}

// A topic receives what the scripts publish.
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

// wipe lets Redis lose all data.
func (w *world) wipe() {
	w.readEvents()
	w.flush()
}

func (w *world) flush() {
	if err := w.client.FlushAll(context.Background()).Err(); err != nil {
		w.t.Fatal(err)
	}
	w.last = "0"
	w.clock(w.began.Add(w.now))
}

// generation returns the generation of the data in Redis.
func (w *world) generation() string {
	return w.client.Get(context.Background(), testNames.Internal("presence-generation")).Val()
}
