package presence

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sidecast/relay/relaytest/redistest"
)

var (
	modelSeeds = flag.Int("model.seeds", 3, "number of random histories")
	modelFor   = flag.Duration("model.for", 6*time.Minute, "simulated time of each history")

	modelOnRedisFor = flag.Duration("model.redis", 3*time.Minute, "simulated time of the history on redis-server")
	modelInRealTime = flag.Bool("model.realtime", false, "do not simulate the time of the history on redis-server")
)

// A user of the model opens and closes pages. An oracle that knows nothing of
// leases and scripts predicts what the application must be told about it.
type modelUser struct {
	name        string
	pages       []modelPage
	emptySince  time.Duration // when the last page was closed, if there is none
	knewPresent bool          // the application knew it at the last check
	present     bool          // as the application must know it at the end of a quiet time
	// Arrivals and departures since the last check, unless a fault makes them
	// uncertain.
	toggles   int
	disturbed bool
	lost      bool          // Redis has lost that it is a member
	moveAt    time.Duration // when the pages that a relay has closed are opened elsewhere; 0: never
	moves     []string      // their channels
}

type modelPage struct {
	relay   *relay
	channel string
	opened  time.Duration
}

// A model drives a world at random.
type model struct {
	*world
	channels []string
	users    map[string]*modelUser // by channel and name: pages of one user on two channels are independent
	names    []string
	restarts int
	faultEnd time.Duration // until then, what users do is uncertain
	repairs  []repair
}

// A repair ends a fault.
type repair struct {
	at time.Duration
	do func()
}

// TestModel lets 300 users open, duplicate, reload and close pages at three
// relays, while relays are killed and replaced, lose their connection and are
// shut down, and while Redis restarts with and without its data. After each
// quiet time, Redis and all clients know exactly the users who have pages, and
// the application was told about each arrival and departure once.
func TestModel(t *testing.T) {
	for seed := range *modelSeeds {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			newModel(newWorld(t, uint64(seed))).play(*modelFor)
		})
	}
}

// TestModelOnRedis is TestModel on a redis-server. Only its clock is simulated,
// or nothing if the test takes as long as its history.
func TestModelOnRedis(t *testing.T) {
	server := redistest.Start(t)
	if *modelInRealTime {
		sleep := func(_ *world, until time.Time) { time.Sleep(time.Until(until)) }
		newModel(newWorldAt(t, 1, server.Addr, time.Now(), sleep)).play(*modelOnRedisFor)
		return
	}
	simulateClock(t)
	newModel(newWorldAt(t, 1, server.Addr, simulatedBegin, func(w *world, now time.Time) {
		w.client.HSet(context.Background(), "clock", "s", now.Unix(), "us", now.Nanosecond()/1000)
	})).play(*modelOnRedisFor)
}

// simulateClock makes the scripts read the time from a key.
func simulateClock(t *testing.T) {
	scripts := map[**redis.Script][]string{
		&beginScript: {"common", "begin"}, &joinScript: {"common", "channel", "join"}, &leaveScript: {"common", "channel", "leave"},
		&refreshScript: {"common", "refresh"}, &dueScript: {"common", "due"}, &lookScript: {"common", "look"},
		&reapScript: {"common", "channel", "reap"},
	}
	for s, files := range scripts {
		original, text := *s, ""
		for _, name := range files {
			source, err := lua.ReadFile("lua/" + name + ".lua")
			if err != nil {
				t.Fatal(err)
			}
			text += strings.Replace(string(source), "redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'us')", 1)
		}
		*s = redis.NewScript(text)
		t.Cleanup(func() { *s = original })
	}
}

// play alternates between unrest and checks.
func (m *model) play(d time.Duration) {
	for m.now < d && !m.t.Failed() {
		m.act(50 * time.Second)
		m.settle()
	}
}

func newModel(w *world) *model {
	m := &model{world: w, channels: []string{"chat", "room:1"}, users: map[string]*modelUser{}}
	for _, channel := range m.channels {
		for i := range 150 {
			name := fmt.Sprint("u", i)
			m.users[channel+" "+name] = &modelUser{name: name}
			m.names = append(m.names, channel+" "+name)
		}
	}
	for i := range 3 {
		m.startRelay(fmt.Sprint("relay", i))
	}
	return m
}

func (m *model) startRelay(name string) *relay {
	r := m.start(name, Config{})
	for _, channel := range m.channels {
		r.watch(channel)
	}
	return r
}

// act lets users and faults do something for a time.
func (m *model) act(d time.Duration) {
	for end := m.now + d; m.now < end; m.step(250 * time.Millisecond) {
		for range m.rand.IntN(5) {
			m.userActs(m.names[m.rand.IntN(len(m.names))])
		}
		for _, key := range m.names {
			m.move(key)
		}
		if m.rand.IntN(60) == 0 {
			m.fault()
		}
		if m.rand.IntN(40) == 0 && len(m.relays) > 0 {
			r, channel := m.relays[m.rand.IntN(len(m.relays))], m.channels[m.rand.IntN(len(m.channels))]
			r.unwatch(channel)
			r.watch(channel)
		}
		m.repair(m.now)
	}
}

// userActs lets a user open or close a page.
func (m *model) userActs(key string) {
	u, channel := m.users[key], strings.Fields(key)[0]
	switch what := m.rand.IntN(10); {
	case what < 4 || len(u.pages) == 0:
		m.openPage(u, channel)
	case what < 8:
		m.closePage(u, m.rand.IntN(len(u.pages)))
	default: // a reload, which may end at another relay
		m.closePage(u, m.rand.IntN(len(u.pages)))
		u.moveAt = m.now + time.Duration(m.rand.Int64N(int64(3*time.Second)))
		u.moves = append(u.moves, channel)
	}
}

func (m *model) openPage(u *modelUser, channel string) {
	if len(m.relays) == 0 {
		return
	}
	switch away := m.now - u.emptySince; {
	case len(u.pages) > 0:
	case u.present && away > 4*time.Second && away < 6*time.Second:
		u.disturbed = true // the grace may be over
	case u.present && away >= 6*time.Second:
		u.toggles += 2 // it has left
	case !u.present:
		u.toggles++
		u.present = true
	}
	m.touch(u)
	r := m.relays[m.rand.IntN(len(m.relays))]
	if generation := m.generation(); r.worker.epochs < 2 {
		// A relay that has just started cannot know that Redis has lost data.
		u.lost = u.lost || slices.ContainsFunc(m.relays, func(other *relay) bool {
			return other.worker.generation != "" && other.worker.generation != generation
		})
	}
	u.pages = append(u.pages, modelPage{r, channel, m.now})
	r.open(channel, u.name)
}

func (m *model) closePage(u *modelUser, i int) {
	p := u.pages[i]
	if m.now-p.opened < time.Second {
		return // no browser is that fast
	}
	m.touch(u)
	p.relay.close(p.channel, u.name)
	u.pages = slices.Delete(u.pages, i, i+1)
	if len(u.pages) == 0 {
		u.emptySince = m.now
	}
}

// touch notes that what a user does during a fault is uncertain.
func (m *model) touch(u *modelUser) { u.disturbed = u.disturbed || m.now < m.faultEnd }

// move opens the pages of a user that were closed by a reload or a relay.
func (m *model) move(key string) {
	u := m.users[key]
	if u.moveAt == 0 || m.now < u.moveAt || len(m.relays) == 0 {
		return
	}
	for _, channel := range u.moves {
		m.openPage(u, channel)
	}
	u.moveAt, u.moves = 0, nil
}

// lose takes the pages at a relay that has ended from their users, who return
// after a while or never. If it was killed, what the application is told depends
// on when.
func (m *model) lose(r *relay, killed bool) {
	generation := m.generation()
	for _, ch := range r.channels {
		for _, h := range ch.list {
			u := m.users[ch.name+" "+h.user]
			u.disturbed = u.disturbed || h.uses == 0 // its grace is not over
			if h.state == holdWritten && generation != r.worker.generation || h.claim {
				u.lost = true // the relay had no time to write it again
			}
		}
	}
	for _, key := range m.names {
		u := m.users[key]
		n := len(u.pages)
		u.pages = slices.DeleteFunc(u.pages, func(p modelPage) bool {
			if p.relay != r {
				return false
			}
			if m.rand.IntN(4) > 0 {
				u.moves = append(u.moves, p.channel)
				u.moveAt = m.now + time.Duration(m.rand.Int64N(int64(10*time.Second)))
			}
			return true
		})
		if len(u.pages) < n {
			u.disturbed = u.disturbed || killed || len(u.pages) == 0
		}
		if len(u.pages) == 0 && n > 0 {
			u.emptySince = m.now
		}
	}
}

// fault begins a random fault.
func (m *model) fault() {
	if len(m.relays) == 0 {
		return
	}
	r := m.relays[m.rand.IntN(len(m.relays))]
	switch m.rand.IntN(6) {
	case 0:
		m.t.Logf("%v: %s is killed", m.now, r.name)
		m.lose(r, true)
		m.kill(r)
		m.replace()
	case 1:
		m.t.Logf("%v: %s is shut down", m.now, r.name)
		m.lose(r, false)
		for key := range r.tabs {
			for range r.tabs[key] {
				r.Exit(key[0], key[1])
			}
		}
		m.world.run(r)
		if m.down {
			for _, key := range m.names {
				m.users[key].disturbed = true
			}
		}
		m.shutDown(r)
		m.replace()
	case 2:
		m.cut(r)
	default:
		m.restartRedis(m.rand.IntN(3) == 0)
	}
}

// replace starts another relay in place of one that has ended.
func (m *model) replace() {
	m.restarts++
	m.after(time.Duration(m.rand.Int64N(int64(5*time.Second))), func() { m.startRelay(fmt.Sprint("relay", 2+m.restarts)) })
}

func (m *model) after(d time.Duration, do func()) {
	m.repairs = append(m.repairs, repair{m.now + d, do})
}

// repair ends the faults that end now.
func (m *model) repair(now time.Duration) {
	list := m.repairs
	m.repairs = nil
	for _, r := range list {
		if r.at > now {
			m.repairs = append(m.repairs, r)
			continue
		}
		r.do()
	}
}

// cut disconnects one relay from Redis. If that takes long, the others remove
// its members.
func (m *model) cut(r *relay) {
	d := time.Duration(m.rand.Int64N(int64(15 * time.Second)))
	if m.rand.IntN(3) == 0 {
		d += 30 * time.Second
	}
	m.t.Logf("%v: %s is cut for %v", m.now, r.name, d)
	m.uncertain(d)
	if d > 15*time.Second {
		for _, u := range m.users {
			u.disturbed = u.disturbed || slices.ContainsFunc(u.pages, func(p modelPage) bool { return p.relay == r })
		}
	}
	r.link(false)
	m.after(d, func() { r.link(!m.down) })
}

// uncertain makes what users do for some time uncertain.
func (m *model) uncertain(d time.Duration) {
	m.faultEnd = max(m.faultEnd, m.now+d+15*time.Second)
	for _, u := range m.users {
		if len(u.pages) == 0 && u.present && m.now-u.emptySince < 7*time.Second || len(u.pages) == 1 && m.now-u.pages[0].opened < 2*time.Second {
			u.disturbed = true // its departure or arrival may not be written yet
		}
	}
}

// restartRedis ends Redis for a while.
func (m *model) restartRedis(wipe bool) {
	if m.down {
		return
	}
	d := time.Duration(m.rand.Int64N(int64(20 * time.Second)))
	if m.rand.IntN(4) == 0 {
		d += 40 * time.Second
	}
	m.t.Logf("%v: redis is down for %v, and loses its data: %v", m.now, d, wipe)
	m.uncertain(d + 3*time.Second)
	m.readEvents()
	m.down = true
	for _, r := range m.relays {
		r.link(false)
	}
	m.after(d, func() {
		m.down = false
		if wipe {
			m.forget()
			m.flush()
		}
		for _, r := range m.relays {
			m.after(time.Duration(m.rand.Int64N(int64(3*time.Second))), func() { r.link(!m.down && slices.Contains(m.relays, r)) })
		}
	})
}

// forget notes of whom Redis loses, with its data, what the application was told:
// of members whose relays have ended, and of users whose relays have no
// connection and who were therefore removed.
func (m *model) forget() {
	for _, key := range m.names {
		u, channel := m.users[key], strings.Fields(key)[0]
		err := m.client.ZScore(m.t.Context(), testNames.Public("presence:"+channel), u.name).Err()
		held := slices.ContainsFunc(m.relays, func(r *relay) bool {
			ch := r.channels[channel]
			return ch != nil && ch.holds[u.name] != nil && ch.holds[u.name].state == holdWritten
		})
		fresh := slices.ContainsFunc(u.pages, func(p modelPage) bool { return p.relay.worker.epochs == 0 })
		u.lost = u.lost || held != (err == nil) || fresh
	}
}

// settle waits until all faults are over and everything has settled, and checks
// the world.
func (m *model) settle() {
	for len(m.repairs) > 0 || m.anyMoves() {
		for _, key := range m.names {
			m.move(key)
		}
		m.repair(m.now)
		m.step(250 * time.Millisecond)
	}
	m.pass(80 * time.Second)
	for _, channel := range m.channels {
		var want []string
		for _, key := range m.names {
			if u := m.users[key]; strings.Fields(key)[0] == channel && len(u.pages) > 0 {
				want = append(want, u.name)
			}
		}
		m.want(channel, want...)
	}
	m.checkEvents()
	for _, r := range m.relays {
		if got := int(r.stats.PresenceMembers.Load()); got != len(r.tabs) {
			m.t.Errorf("%v: relay %s holds %d users, want %d", m.now, r.name, got, len(r.tabs))
		}
	}
}

func (m *model) anyMoves() bool {
	return slices.ContainsFunc(m.names, func(key string) bool { return m.users[key].moveAt != 0 })
}

// checkEvents compares what the application was told with what users did. It
// alternates for each user, ends with the truth, and has the right number of
// changes for all users that no fault concerned.
func (m *model) checkEvents() {
	told := make(map[string]int)
	for _, e := range m.events {
		key := e.channel + " " + e.user
		told[key]++
		u := m.users[key]
		if u == nil {
			m.t.Fatalf("an event about %q", key)
		}
	}
	last := make(map[string]string)
	for _, key := range m.names {
		if m.knownBefore(key) {
			last[key] = "joined"
		} else {
			last[key] = "left"
		}
	}
	for _, e := range m.events {
		key := e.channel + " " + e.user
		if last[key] == e.kind && !m.users[key].lost {
			m.t.Errorf("%v: the application is told twice that %s has %s", m.now, key, e.kind)
		}
		last[key] = e.kind
	}
	for _, key := range m.names {
		u := m.users[key]
		present := len(u.pages) > 0
		if (last[key] == "joined") != present && !u.lost {
			m.t.Errorf("%v: the application knows that %s has %s, but it has %d pages", m.now, key, last[key], len(u.pages))
		}
		if u.present && !present {
			u.toggles++ // the last departure
		}
		if !u.disturbed && !u.lost && told[key] != u.toggles {
			m.t.Errorf("%v: the application was told %d changes of %s, want %d", m.now, told[key], key, u.toggles)
		}
		u.present, u.toggles, u.disturbed, u.lost, u.knewPresent = present, 0, false, false, present
	}
	m.events = nil
}

func (m *model) knownBefore(key string) bool { return m.users[key].knewPresent }
