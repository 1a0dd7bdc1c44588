package relay_test

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sidecast/relay/stream"
)

// A world is one Redis, several relays that receive from it, each at its own
// pace, and actors who move between them, in a bubble. What happens is random.
type world struct {
	t        *testing.T
	random   *rand.Rand // of the world's own goroutine
	channels []string   // those that begin with "s:" are durable
	store    *store
	maxlen   int  // to which applications trim streams; 0: not at all
	loose    bool // steps do not wait for each other
	outages  bool
	complete bool                    // the histories have everything: no client that resumes a live channel may get a gap
	collide  bool                    // all live messages have the same checksum
	together bool                    // the channels of most clients share a cursor
	tamper   func([][]byte) [][]byte // for the clients' connections

	relays    []*worldRelay
	actors    []*actor
	clients   []*actorClient
	published int            // by clients
	counts    map[string]int // of what happened

	mu     sync.Mutex
	shared *rand.Rand // of all other goroutines
	log    []entry    // published on live channels
}

// An entry is one thing that Redis publishes. Its number in the log counts from
// 1.
type entry struct {
	kind    entryKind
	channel string
	payload string // of a message: begins with its number
}

type entryKind uint8

const (
	entryMessage entryKind = iota
	entryOversize
	entryMarker
)

// A worldKind limits the channels and relays of a world.
type worldKind struct {
	live, durable bool
	relays        int  // at most
	together      bool // see world.together
	tamper        func([][]byte) [][]byte
}

func newWorld(t *testing.T, seed, i uint64, kind worldKind) *world {
	random := rand.New(rand.NewPCG(seed, i))
	w := &world{t: t, random: random, shared: rand.New(rand.NewPCG(seed+1, i)), store: newStore(random), tamper: kind.tamper, together: kind.together, counts: map[string]int{}}
	if kind.live {
		w.channels = append(w.channels, []string{"a", "b", "räume:1", "d\"", "e"}[:1+random.IntN(5)]...)
	}
	if kind.durable {
		w.channels = append(w.channels, []string{"s:a", "s:b", "s:räume:1", "s:d\"", "s:e"}[:1+random.IntN(5)]...)
	}
	w.maxlen, w.loose = []int{0, 0, 0, 100, 20, 3}[random.IntN(6)], random.IntN(3) > 0
	w.complete, w.collide = random.IntN(5) == 0, random.IntN(4) == 0
	w.outages = !w.complete && random.IntN(4) > 0
	w.store.notify = w.announce
	for range 1 + random.IntN(kind.relays) {
		w.addRelay()
	}
	w.mark()
	for _, r := range w.relays {
		r.receive(1, false)
	}
	synctest.Wait()
	for n := range 1 + random.IntN(8) {
		w.actors = append(w.actors, &actor{world: w, name: n, known: cursors{}})
	}
	return w
}

// runWorld runs history i of a seed, and checks the stories of its clients.
func runWorld(t *testing.T, seed, i uint64, kind worldKind) (w *world) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w = newWorld(t, seed, i, kind)
		for range 300 {
			w.step()
		}
		w.finish()
	})
	byID := map[string]*actorClient{"": {}}
	for _, c := range w.clients {
		byID[c.id] = c
		c.resumes = byID[c.previous].positions
		c.positions, c.wrong = c.check(&c.story)
	}
	return w
}

// draw returns a random number for a goroutine that is not the world's own.
func (w *world) draw(n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.shared.IntN(n)
}

func (w *world) channel() string { return w.channels[w.random.IntN(len(w.channels))] }

func isDurable(channel string) bool { return strings.HasPrefix(channel, "s:") }

// entries returns how many entries were published.
func (w *world) entries() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.log)
}

// step is one thing that happens.
func (w *world) step() {
	r := w.relays[w.random.IntN(len(w.relays))]
	switch op := w.random.IntN(100); {
	case op < 25:
		w.publish(w.channel())
	case op < 30:
		w.mark()
	case op < 46:
		r.receive(w.random.IntN(100), w.random.IntN(3) == 0)
	case op < 50:
		w.removeEntries()
	case op < 55:
		w.failOrRepair(r)
	case op < 59:
		r.pong()
	case op < 63:
		w.sleep(w.random.IntN(2500))
	case op == 63 && w.random.IntN(3) == 0:
		w.sleep(w.random.IntN(15_000))
	default:
		w.actors[w.random.IntN(len(w.actors))].act(r)
	}
	w.pause()
	r.checkMemory()
}

// sleep lets so many milliseconds pass. If the histories have everything, no
// client waits for a link for long enough to get a gap.
func (w *world) sleep(ms int) {
	if w.complete {
		for _, r := range w.relays {
			r.pong()
		}
		synctest.Wait()
	}
	time.Sleep(time.Duration(ms) * time.Millisecond)
}

// pause waits until nothing more can happen now; if steps do not wait for each
// other, only sometimes.
func (w *world) pause() {
	if !w.loose || w.random.IntN(6) == 0 {
		synctest.Wait()
		return
	}
	for range w.random.IntN(20) {
		runtime.Gosched()
	}
}

// publish is an application that publishes on a channel.
func (w *world) publish(channel string) {
	if isDurable(channel) {
		n := 1 + w.random.IntN(4)
		if w.random.IntN(8) == 0 {
			n = w.random.IntN(60)
		}
		for range n {
			w.store.add(channel, w.store.randomID(w.random, channel), w.store.randomFields(w.random), "", w.maxlen)
		}
		return
	}
	for range 1 + w.random.IntN(64) {
		switch {
		case w.random.IntN(25) == 0 && !w.complete:
			w.append(entryOversize, channel, "")
		case w.random.IntN(25) == 0:
			w.append(entryMessage, channel, "\xff\x00"+strings.Repeat("b", w.random.IntN(10)))
		case w.random.IntN(40) == 0:
			w.append(entryMessage, channel, strings.Repeat("x", w.random.IntN(3000)))
		default:
			w.append(entryMessage, channel, strings.Repeat("x", w.random.IntN(20)))
		}
		if channel = w.channel(); isDurable(channel) {
			return
		}
	}
}

// append publishes an entry on a live channel.
func (w *world) append(kind entryKind, channel, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	payload := fmt.Sprintf("#%d:%s", len(w.log)+1, text)
	switch {
	case kind == entryMarker:
		payload = string(binary.BigEndian.AppendUint64(nil, w.shared.Uint64()))
	case w.collide:
		payload = string(collide(fmt.Appendf(nil, "#%06d:", len(w.log)+1)))
	}
	w.log = append(w.log, entry{kind, channel, payload})
}

// mark is a relay that publishes a marker.
func (w *world) mark() { w.append(entryMarker, "", "") }

// announce is the nudge for a new entry of a stream. The store is locked.
func (w *world) announce(channel string) {
	for _, r := range w.relays {
		r.mu.Lock()
		if r.up {
			r.nudges = append(r.nudges, channel)
		}
		r.mu.Unlock()
	}
}

// removeEntries removes entries of streams in one of the ways that there are.
func (w *world) removeEntries() {
	channel := w.channel()
	op := w.random.IntN(12)
	switch {
	case op >= 10 && w.outages: // a failover breaks all links
		for _, r := range w.relays {
			r.link(false)
		}
		synctest.Wait()
		for _, channel := range w.channels {
			w.store.rollBack(channel, w.random.IntN(5))
		}
		for _, r := range w.relays {
			if w.random.IntN(3) > 0 {
				r.link(true)
			}
		}
	case !isDurable(channel):
	case op < 4:
		w.store.remove(channel, w.random.IntN(3)*w.random.IntN(4))
	case op < 7:
		w.store.trim(channel, w.random.IntN(30))
	case op < 10:
		w.store.reset(channel)
		if w.random.IntN(3) > 0 {
			w.publish(channel)
		}
	}
}

// failOrRepair breaks or repairs a relay's link, or its connection to the
// store.
func (w *world) failOrRepair(r *worldRelay) {
	r.mu.Lock()
	up, failing := r.up, r.failure != failureNone
	r.mu.Unlock()
	switch op := w.random.IntN(6); {
	case !up && op > 0:
		r.link(true)
	case op == 1 && w.outages:
		r.link(false)
	case failing && op < 5:
		r.fail(failureNone)
	default:
		r.fail(failure(w.random.IntN(int(numFailures))))
	}
}

// settleTime is longer than a relay takes to notice a lost nudge.
const settleTime = 12 * time.Second

// finish ends all failures, waits until all clients have everything, and
// disconnects them.
func (w *world) finish() {
	for _, r := range w.relays {
		r.fail(failureNone)
		r.link(true)
	}
	for _, a := range w.actors {
		if a.client != nil {
			a.client.drain()
		}
	}
	w.settle()
	for range 2 {
		for _, channel := range w.channels {
			if !isDurable(channel) {
				w.append(entryMessage, channel, "end")
				continue
			}
			text := fmt.Sprintf("s%d:", len(w.store.log)+1)
			w.store.add(channel, w.store.randomID(w.random, channel), []string{stream.PayloadField, text}, "", 0)
			if w.store.monotonic(channel) && w.random.IntN(2) == 0 {
				for _, r := range w.relays {
					r.loseNudges(channel)
				}
			}
		}
		w.settle()
	}
	for _, c := range w.clients {
		c.finish()
	}
	for _, r := range w.relays {
		close(r.queue)
		r.checkEmpty()
		r.stop()
	}
}

// settle lets the relays receive everything and answer everyone.
func (w *world) settle() {
	for again := true; again; {
		again = false
		for _, r := range w.relays {
			r.link(true)
			r.receive(1<<30, false)
			r.pong()
		}
		time.Sleep(settleTime)
		synctest.Wait()
		for _, r := range w.relays {
			r.mu.Lock()
			again = again || !r.up || len(r.waiting) > 0
			r.mu.Unlock()
		}
	}
}
